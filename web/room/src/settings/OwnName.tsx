import { useClient } from "@studyroom/client/react"
import { type FormEvent, useId, useState } from "react"
import { memory } from "../memory"
import { faultOf, LONGEST_NAME, takeName } from "../own-name"
import { useTexts } from "../texts"

/** Gives the user another name, for everyone in the room. */
export function OwnName({ onDone }: { onDone: () => void }) {
  const t = useTexts()
  const client = useClient()
  const [name, setName] = useState(memory.name.get() ?? "")
  const fieldId = useId()
  const fault = faultOf(name)
  const submit = (event: FormEvent) => {
    event.preventDefault()
    if (fault !== null) return
    takeName(client, name.trim())
    onDone()
  }
  return (
    <form onSubmit={submit}>
      <label htmlFor={fieldId}>{t.yourName}</label>
      <div className="field">
        <input
          id={fieldId}
          dir="auto"
          value={name}
          maxLength={LONGEST_NAME}
          autoComplete="nickname"
          onChange={(event) => setName(event.target.value)}
        />
        <button type="submit" disabled={fault !== null || name.trim() === memory.name.get()}>
          {t.changeName}
        </button>
      </div>
    </form>
  )
}
