import { type FormEvent, useId, useState } from "react"

interface Props {
  label: string
  /** The text that the field has at first. */
  text?: string
  maxLength: number
  autoComplete?: "nickname" | "off"
  hint?: string
  /** Whether the field is empty again after its line was taken. */
  clears?: boolean
  button: string
  /** Returns the line that a text stands for; null if the button must not be pressed with it. */
  lineOf: (text: string) => string | null
  onLine: (line: string) => void
}

/** A field for one line, with a button beside it. */
export function LineForm({
  label,
  text: first = "",
  maxLength,
  autoComplete = "off",
  hint,
  ...props
}: Props) {
  const { clears = false, button, lineOf, onLine } = props
  const [text, setText] = useState(first)
  const fieldId = useId()
  const line = lineOf(text)
  const submit = (event: FormEvent) => {
    event.preventDefault()
    if (line === null) return
    onLine(line)
    if (clears) setText("")
  }
  return (
    <form onSubmit={submit}>
      <label htmlFor={fieldId}>{label}</label>
      <div className="field">
        <input
          id={fieldId}
          dir="auto"
          value={text}
          maxLength={maxLength}
          placeholder={hint}
          autoComplete={autoComplete}
          onChange={(event) => setText(event.target.value)}
        />
        <button type="submit" disabled={line === null}>
          {button}
        </button>
      </div>
    </form>
  )
}
