import { Component, type ComponentType, type ReactNode, useCallback, useEffect, useState } from "react"
import { Close } from "../icons"
import { useTexts } from "../texts"

export interface NotesProps {
  roomId: string
  onClose: () => void
}

/** The notes. Their script is loaded when the user opens them. */
export function NotesPlace(props: NotesProps) {
  const t = useTexts()
  const [Notes, setNotes] = useState<ComponentType<NotesProps> | null>(null)
  const [failed, setFailed] = useState(false)
  const load = useCallback(async () => {
    setFailed(false)
    try {
      const { Notes, ready } = await import("./Notes")
      await ready()
      setNotes(() => Notes)
    } catch (error) {
      console.info("the notes cannot be loaded:", error)
      setFailed(true)
    }
  }, [])
  useEffect(() => void load(), [load])
  if (Notes)
    return (
      <Bulkhead
        onFault={() => {
          setNotes(null)
          setFailed(true)
        }}
      >
        <Notes {...props} />
      </Bulkhead>
    )
  return (
    <section className="notes panel" aria-label={t.notes}>
      <p role="status">{failed ? t.notesFailed : t.notesLoading}</p>
      {failed && (
        <button type="button" onClick={load}>
          {t.tryAgain}
        </button>
      )}
      <button type="button" className="icon" aria-label={t.close} onClick={props.onClose}>
        <Close />
      </button>
    </section>
  )
}

/** Keeps the rest of the page, if the notes have a fault. */
class Bulkhead extends Component<{ onFault: () => void; children: ReactNode }, { failed: boolean }> {
  override state = { failed: false }
  static getDerivedStateFromError = () => ({ failed: true })

  override componentDidCatch(): void {
    this.props.onFault()
  }

  override render(): ReactNode {
    return this.state.failed ? null : this.props.children
  }
}
