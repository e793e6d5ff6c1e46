import { type RefObject, useEffect, useRef, useState } from "react"
import { useTexts } from "../texts"
import type { EarlierMessages } from "./use-earlier"

interface Props extends EarlierMessages {
  /** Whether no message is shown. */
  empty: boolean
  log: RefObject<HTMLDivElement | null>
}

/** The way to earlier messages, above the first one. It always has the same height, so that nothing moves. */
export function Earlier({ more, busy, failed, empty, load, ask, log }: Props) {
  const t = useTexts()
  const top = useRef<HTMLDivElement>(null)
  const button = useRef<HTMLButtonElement>(null)
  const pressed = useRef(false)
  const [reached, setReached] = useState(false)
  const [outcome, setOutcome] = useState("")

  useEffect(() => {
    const watch = new IntersectionObserver(([entry]) => setReached(entry?.isIntersecting ?? false), {
      root: log.current,
    })
    watch.observe(top.current as HTMLDivElement)
    return () => watch.disconnect()
  }, [log])
  useEffect(() => {
    if (reached) ask()
  })
  useEffect(() => {
    // The button that had the focus is gone.
    if (more === "no" && pressed.current) log.current?.focus({ preventScroll: true })
  }, [more, log])

  const press = async () => {
    if (busy) return
    pressed.current = document.activeElement === button.current
    setOutcome("")
    const count = await load()
    if (count > 0) setOutcome(t.earlierShown(count))
  }
  return (
    <div ref={top} className="earlier dim">
      {more === "yes" && (
        <button ref={button} type="button" aria-disabled={busy} onClick={press}>
          {t.showEarlier}
        </button>
      )}
      {more === "no" && <p>{empty ? t.saidNothing : t.chatBegins}</p>}
      <p aria-live="polite">
        {failed && t.earlierFailed}
        <span className="unseen">{outcome}</span>
      </p>
    </div>
  )
}
