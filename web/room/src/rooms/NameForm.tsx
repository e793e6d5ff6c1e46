import { LineForm } from "../LineForm"
import { useTexts } from "../texts"
import { LONGEST_NAME, oneLine } from "./name"

interface Props {
  name: string
  onRename: (name: string) => void
}

/** Gives the room another name, for everyone in it. */
export function NameForm({ name, onRename }: Props) {
  const t = useTexts()
  const newName = (text: string) => (oneLine(text) === name ? null : oneLine(text))
  return (
    <LineForm
      label={t.nameOfRoom}
      text={name}
      maxLength={LONGEST_NAME}
      button={t.rename}
      lineOf={newName}
      onLine={onRename}
    />
  )
}
