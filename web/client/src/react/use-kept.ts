import { useState } from "react"

/** What `make` made, for as long as `key` is the same. Unlike a memo it is never made again for the same key. */
export function useKept<T>(key: string, make: () => T): T {
  const [kept, keep] = useState(() => ({ key, value: make() }))
  if (kept.key === key) return kept.value
  const next = { key, value: make() }
  keep(next)
  return next.value
}
