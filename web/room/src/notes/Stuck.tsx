import type { Editor } from "@tiptap/core"
import { useState } from "react"
import { useNotesTexts } from "./texts"

/** The user's ways out when the server refuses what they wrote: take the text along, and go on without it. */
export function Stuck({ editor, again }: { editor: Editor; again: () => void }) {
  const t = useNotesTexts()
  const [copied, setCopied] = useState(false)
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(editor.getText())
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
        {t.goOn}
      </button>
    </div>
  )
}
