import { face } from "../../face"
import { filled, useTexts } from "../../texts"
import type { Task } from "../Composer"
import { snippet } from "./Quote"

interface Props {
  task: Task
  /** Whether the server has not answered yet. */
  saving: boolean
  /** Why the edit is not stored. */
  fault: string | null
  onCancel: () => void
}

/** The line above the field that says what its text is for. */
export function TaskNote({ task, saving, fault, onCancel }: Props) {
  const t = useTexts()
  const { kind, message } = task
  const replying = message.own
    ? t.replyingToYourself
    : filled(t.replyingTo, { name: face(message.username).name })
  const text = { failed: t.editing, edit: t.editingOwn, reply: replying }[kind]
  return (
    <div className="note">
      <p className="task">
        <span dir="auto">{saving ? t.saving : text}</span>
        {kind === "reply" && <bdi className="snippet dim">{snippet(message.content)}</bdi>}
      </p>
      <button type="button" disabled={saving} onClick={onCancel}>
        {t.cancel}
      </button>
      <p className="fault" role="alert">
        {fault !== null && t.notChanged({ reason: fault })}
      </p>
    </div>
  )
}
