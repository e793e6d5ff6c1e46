import { isBlank } from "@studyroom/client"
import { useMyPresence } from "@studyroom/client/react"
import { type FormEvent, useId, useState } from "react"
import { Dialog } from "../Dialog"
import { Speech } from "../icons"
import { useTexts } from "../texts"
import { LONGEST_STATUS, statusOf } from "./shown"

/** The user's status line, which everyone sees below their name. */
export function StatusButton() {
  const t = useTexts()
  const [presence] = useMyPresence()
  const [open, setOpen] = useState(false)
  const status = statusOf(presence)
  return (
    <>
      <button
        type="button"
        aria-label={status === null ? t.setStatus : `${t.status}: ${status}`}
        aria-haspopup="dialog"
        onClick={() => setOpen(true)}
      >
        <Speech />
        <span className="label">{status === null ? t.setStatus : <bdi>{status}</bdi>}</span>
      </button>
      <Dialog title={t.status} open={open} onClose={() => setOpen(false)}>
        <StatusForm status={status} onDone={() => setOpen(false)} />
      </Dialog>
    </>
  )
}

function StatusForm({ status, onDone }: { status: string | null; onDone: () => void }) {
  const t = useTexts()
  const [, update] = useMyPresence()
  const [text, setText] = useState(status ?? "")
  const fieldId = useId()
  const show = (shown: string) => {
    update({ status: isBlank(shown) ? null : shown.trim() })
    onDone()
  }
  const submit = (event: FormEvent) => {
    event.preventDefault()
    show(text)
  }
  return (
    <form onSubmit={submit}>
      <label htmlFor={fieldId}>{t.yourStatus}</label>
      <input
        id={fieldId}
        dir="auto"
        value={text}
        maxLength={LONGEST_STATUS}
        placeholder={t.statusHint}
        autoComplete="off"
        onChange={(event) => setText(event.target.value)}
      />
      <div className="choices">
        <button type="submit" className="primary">
          {t.showStatus}
        </button>
        {status !== null && (
          <button type="button" onClick={() => show("")}>
            {t.removeStatus}
          </button>
        )}
      </div>
    </form>
  )
}
