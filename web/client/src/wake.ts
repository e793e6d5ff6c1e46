/** What a page is told of its sleep and of the network. Elsewhere than in a page nothing is told. */

import { page } from "./page.js"

export interface Wakes {
  /** The connection may be gone without a word: look at it now. */
  doubt(): void
  /** The page goes; it may come back as it was, from the back-forward cache. */
  hide(): void
}

/** Returns what ends it. */
export function watchPage({ doubt, hide }: Wakes): () => void {
  const { document } = page
  const watched = [
    [document, "visibilitychange", () => document?.visibilityState === "visible" && doubt()],
    [page, "online", doubt],
    [page, "pageshow", doubt],
    [page, "pagehide", hide],
  ] as const
  for (const [target, event, listener] of watched) target?.addEventListener?.(event, listener)
  return () => {
    for (const [target, event, listener] of watched) target?.removeEventListener?.(event, listener)
  }
}
