"use client"

import { useState } from "react"

/** The value that `make` returned, until `key` changes. Unlike a memo, it is made only once for a key. */
export function useKept<T>(key: string, make: () => T): T {
  const [kept, keep] = useState(() => ({ key, value: make() }))
  if (kept.key === key) return kept.value
  const next = { key, value: make() }
  keep(next)
  return next.value
}
