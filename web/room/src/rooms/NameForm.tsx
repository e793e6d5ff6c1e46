import { type FormEvent, useId, useState } from "react"
import { useTexts } from "../texts"
import { LONGEST_NAME, oneLine } from "./name"

interface Props {
  name: string
  onRename: (name: string) => void
}

/** Gives the room another name, for everyone in it. */
export function NameForm({ name, onRename }: Props) {
  const t = useTexts()
  const [text, setText] = useState(name)
  const fieldId = useId()
  const submit = (event: FormEvent) => {
    event.preventDefault()
    const line = oneLine(text)
    if (line !== null) onRename(line)
  }
  return (
    <form onSubmit={submit}>
      <label htmlFor={fieldId}>{t.nameOfRoom}</label>
      <div className="field">
        <input
          id={fieldId}
          dir="auto"
          value={text}
          maxLength={LONGEST_NAME}
          autoComplete="off"
          onChange={(event) => setText(event.target.value)}
        />
        <button type="submit" disabled={oneLine(text) === null || oneLine(text) === name}>
          {t.rename}
        </button>
      </div>
    </form>
  )
}
