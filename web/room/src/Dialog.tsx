import { type ReactNode, useEffect, useId, useRef } from "react"
import { Close } from "./icons"
import { useTexts } from "./texts"

interface Props {
  title: string
  open: boolean
  onClose: () => void
  children: ReactNode
}

/** A window above the page. Escape, a press beside it and its button close it. */
export function Dialog({ title, open, onClose, children }: Props) {
  const t = useTexts()
  const dialog = useRef<HTMLDialogElement>(null)
  const titleId = useId()
  useEffect(() => {
    if (open && !dialog.current?.open) dialog.current?.showModal()
    if (!open) dialog.current?.close()
  }, [open])
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the key Escape closes it too
    <dialog
      ref={dialog}
      aria-labelledby={titleId}
      onClose={onClose}
      onClick={(event) => event.target === dialog.current && onClose()}
    >
      <div className="window">
        <h2 id={titleId}>{title}</h2>
        <button type="button" className="icon" aria-label={t.close} onClick={onClose}>
          <Close />
        </button>
        {open && children}
      </div>
    </dialog>
  )
}
