import { type RefObject, useEffect, useRef, useState } from "react"
import type { EarlierMessages } from "./use-earlier"

interface Props extends EarlierMessages {
  /** Whether no message is shown. */
  empty: boolean
  log: RefObject<HTMLDivElement | null>
}

/** The way to earlier messages, above the first one. It always has the same height, so that nothing moves. */
export function Earlier({ more, busy, failed, empty, load, ask, log }: Props) {
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
    if (count > 0) setOutcome(count === 1 ? "1 earlier message shown" : `${count} earlier messages shown`)
  }
  return (
    <div ref={top} className="earlier dim">
      {more === "yes" && (
        <button ref={button} type="button" aria-disabled={busy} onClick={press}>
          Show earlier messages
        </button>
      )}
      {more === "no" && <p>{empty ? "Nothing has been said yet. Say hello!" : "The chat begins here."}</p>}
      <p aria-live="polite">
        {failed && "Earlier messages cannot be loaded now. Try again in a moment."}
        <span className="unseen">{outcome}</span>
      </p>
    </div>
  )
}
