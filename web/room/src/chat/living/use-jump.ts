import { type RefObject, useCallback, useEffect, useState } from "react"

/** A quoted message that is further up than so many pages is not looked for. */
const PAGES_MAX = 20
const SHOWN_MS = 2000

/**
 * Returns a function that shows the message with an id in the middle of the log, and the id of the one that was shown
 * just now. It loads earlier messages until it is there.
 */
export function useJump(
  log: RefObject<HTMLDivElement | null>,
  messages: readonly { id: string }[],
  load: () => Promise<number>,
): [string | null, (id: string) => void] {
  const [wanted, setWanted] = useState<{ id: string; pages: number } | null>(null)
  const [shown, setShown] = useState<string | null>(null)

  const isThere = wanted !== null && messages.some(({ id }) => id === wanted.id)

  useEffect(() => {
    if (wanted === null || !isThere) return
    show(log.current as HTMLElement, wanted.id)
    setShown(wanted.id)
    setWanted(null)
  }, [wanted, isThere, log])
  // biome-ignore lint/correctness/useExhaustiveDependencies: one page for each value of `wanted`
  useEffect(() => {
    if (wanted === null || isThere) return
    const { id, pages } = wanted
    void load().then((count) => {
      const next = count === 0 || pages >= PAGES_MAX ? null : { id, pages: pages + 1 }
      setWanted((now) => (now === wanted ? next : now))
    })
  }, [wanted])
  useEffect(() => {
    if (shown === null) return
    const timer = setTimeout(() => setShown(null), SHOWN_MS)
    return () => clearTimeout(timer)
  }, [shown])
  const jump = useCallback((id: string) => setWanted({ id, pages: 0 }), [])
  return [shown, jump]
}

/** The button of the message gets the focus, so that the keyboard goes on from there. */
function show(log: HTMLElement, id: string): void {
  const line = log.querySelector<HTMLElement>(`[data-id="${CSS.escape(id)}"]`)
  if (!line) return
  const [around, box] = [log.getBoundingClientRect(), line.getBoundingClientRect()]
  log.scrollTop += box.top - around.top - Math.max(0, (around.height - box.height) / 2)
  line.querySelector<HTMLElement>("[aria-haspopup=menu]")?.focus({ preventScroll: true })
}
