/** What a page is told of its sleep and of the network. Elsewhere than in a page nothing is told. */

export interface Wakes {
  /** The connection may be gone without a word: look at it now. */
  doubt(): void
  /** The page goes; it may come back as it was, from the back-forward cache. */
  hide(): void
}

/** Returns what ends it. */
export function watchPage({ doubt, hide }: Wakes): () => void {
  const page = typeof document === "undefined" ? null : document
  const seen = () => page?.visibilityState !== "hidden" && doubt()
  const global: Partial<EventTarget> = globalThis
  const watched: [Partial<EventTarget> | null, string, () => void][] = [
    [page, "visibilitychange", seen],
    [page, "resume", doubt],
    [global, "online", doubt],
    [global, "pageshow", doubt],
    [global, "pagehide", hide],
  ]
  // Node has no such events, and no such method.
  for (const [target, event, listener] of watched) target?.addEventListener?.(event, listener)
  return () => {
    for (const [target, event, listener] of watched) target?.removeEventListener?.(event, listener)
  }
}
