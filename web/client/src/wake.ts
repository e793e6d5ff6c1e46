/** Events of a page that concern its connection: sleep, the network, and leaving. Outside of a page there are none. */

import { page } from "./page.js"

export interface Wakes {
  /** The connection may be lost without a close event: check it now. */
  doubt(): void
  /** The page is left, and may come back unchanged from the back-forward cache. */
  hide(): void
}

/** Returns a function that ends the watch. */
export function watchPage({ doubt, hide }: Wakes): () => void {
  const { document } = page
  const watched = [
    [document, "visibilitychange", () => document?.visibilityState === "visible" && doubt()],
    [page, "online", doubt],
    [page, "pageshow", doubt],
    [page, "pagehide", hide],
  ] as const
  const watch = new AbortController()
  for (const [target, event, listener] of watched) target?.addEventListener?.(event, listener, watch)
  return () => watch.abort()
}
