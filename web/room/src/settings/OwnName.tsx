import { useClient } from "@studyroom/client/react"
import { LineForm } from "../LineForm"
import { memory } from "../memory"
import { faultOf, LONGEST_NAME, takeName } from "../own-name"
import { useTexts } from "../texts"

/** Gives the user another name, for everyone in the room. */
export function OwnName({ onDone }: { onDone: () => void }) {
  const t = useTexts()
  const client = useClient()
  const newName = (text: string) =>
    faultOf(text) === null && text.trim() !== memory.name.get() ? text.trim() : null
  const take = (name: string) => {
    takeName(client, name)
    onDone()
  }
  return (
    <LineForm
      label={t.yourName}
      text={memory.name.get() ?? ""}
      maxLength={LONGEST_NAME}
      autoComplete="nickname"
      button={t.changeName}
      lineOf={newName}
      onLine={take}
    />
  )
}
