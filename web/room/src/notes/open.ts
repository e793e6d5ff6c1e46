import { type RefObject, useEffect, useRef, useState } from "react"
import { memory } from "../memory"

export interface NotesSwitch {
  open: boolean
  show: (open: boolean) => void
  /** The button for it. It gets the focus when the notes are closed. */
  button: RefObject<HTMLButtonElement | null>
}

/** Whether the notes are open, also after a reload. */
export function useNotesSwitch(): NotesSwitch {
  const [open, setOpen] = useState(() => memory.notes.get() === "open")
  const button = useRef<HTMLButtonElement>(null)
  const wasOpen = useRef(open)
  useEffect(() => {
    if (wasOpen.current && !open) button.current?.focus()
    wasOpen.current = open
  }, [open])
  const show = (open: boolean) => {
    memory.notes.set(open ? "open" : null)
    setOpen(open)
  }
  return { open, show, button }
}
