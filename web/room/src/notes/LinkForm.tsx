import type { Editor } from "@tiptap/core"
import { type FormEvent, useId, useState } from "react"
import { ADDRESS } from "./editor"
import { useNotesTexts } from "./texts"

/** The address of the link at the cursor, or for the selected text. */
export function LinkForm({ editor, onDone }: { editor: Editor; onDone: () => void }) {
  const t = useNotesTexts()
  const before: unknown = editor.getAttributes("link").href
  const [address, setAddress] = useState(typeof before === "string" ? before : "")
  const [wrong, setWrong] = useState(false)
  const [fieldId, faultId] = [useId(), useId()]
  const submit = (event: FormEvent) => {
    event.preventDefault()
    const href = address.trim()
    if (!ADDRESS.test(href)) return setWrong(true)
    const { empty } = editor.state.selection
    const chain = editor.chain().extendMarkRange("link")
    if (empty && !before)
      chain.insertContent({ type: "text", text: href, marks: [{ type: "link", attrs: { href } }] }).run()
    else chain.setLink({ href }).run()
    onDone()
  }
  const remove = () => {
    editor.chain().extendMarkRange("link").unsetLink().run()
    onDone()
  }
  return (
    <form onSubmit={submit} noValidate>
      <label htmlFor={fieldId}>{t.address}</label>
      <input
        id={fieldId}
        type="url"
        value={address}
        placeholder={t.addressHint}
        autoComplete="off"
        aria-invalid={wrong}
        aria-describedby={wrong ? faultId : undefined}
        onChange={(event) => setAddress(event.target.value)}
      />
      <p id={faultId} className="fault" role="alert">
        {wrong && t.addressWrong}
      </p>
      <div className="choices">
        <button type="submit" className="primary">
          {t.setLink}
        </button>
        {typeof before === "string" && (
          <>
            <button type="button" onClick={remove}>
              {t.removeLink}
            </button>
            <a href={before} target="_blank" rel="noopener noreferrer">
              {t.openLink}
            </a>
          </>
        )}
      </div>
    </form>
  )
}
