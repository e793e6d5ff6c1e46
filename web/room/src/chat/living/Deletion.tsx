import { StudyroomError } from "@studyroom/client"
import type { LivingChat, LivingMessage } from "@studyroom/client/living-chat"
import { useState } from "react"
import { sentence } from "../../codes"
import { Dialog } from "../../Dialog"
import { useTexts } from "../../texts"

interface Props {
  /** The message to delete, or null for none. */
  message: LivingMessage | null
  remove: LivingChat["remove"]
  onClose: () => void
}

/** Asks before an own message is deleted. */
export function Deletion({ message, remove, onClose }: Props) {
  const t = useTexts()
  return (
    <Dialog title={t.deleteMessage} open={message !== null} onClose={onClose}>
      {message && <Question message={message} remove={remove} onClose={onClose} />}
    </Dialog>
  )
}

function Question({ message, remove, onClose }: Props & { message: LivingMessage }) {
  const t = useTexts()
  const [busy, setBusy] = useState(false)
  const [fault, setFault] = useState<string | null>(null)
  const press = async () => {
    setBusy(true)
    const code = await failure(remove(message))
    if (code === null) return onClose()
    setFault(sentence(code))
    setBusy(false)
  }
  return (
    <>
      <blockquote dir="auto">{message.content}</blockquote>
      <p className="dim">{t.deleteExplained}</p>
      <div className="choices">
        <button type="button" disabled={busy} onClick={press}>
          {t.deleteIt}
        </button>
      </div>
      <p className="fault" role="alert">
        {fault}
      </p>
    </>
  )
}

/** The code of the failure of a change, or null if the server has stored it. */
export async function failure(change: Promise<void>): Promise<string | null> {
  try {
    await change
    return null
  } catch (error) {
    return error instanceof StudyroomError ? error.code : "internal"
  }
}
