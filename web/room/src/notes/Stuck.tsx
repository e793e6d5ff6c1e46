import type { Editor } from "@tiptap/core"
import { useState } from "react"
import { useNotesTexts } from "./texts"

interface Props {
  editor: Editor
  /** More text of the user, which the editor cannot show. */
  more: string
  /** The name of the way out. */
  goOn: string
  again: () => void
}

/** The user's ways out when the server does not take what they wrote: take the text along, and go on without it. */
export function Stuck({ editor, more, goOn, again }: Props) {
  const t = useNotesTexts()
  const [copied, setCopied] = useState(false)
  const copy = async () => {
    try {
      await navigator.clipboard.writeText([editor.getText(), more].filter(Boolean).join("\n\n"))
      setCopied(true)
    } catch {
      editor.chain().focus().selectAll().run() // the user can copy what is selected
    }
  }
  return (
    <div className="choices ways-out">
      <button type="button" onClick={copy}>
        {copied ? t.textCopied : t.copyText}
      </button>
      <button type="button" onClick={again}>
        {goOn}
      </button>
    </div>
  )
}
