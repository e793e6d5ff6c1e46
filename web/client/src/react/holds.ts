"use client"

/** Resources that last as long as any component holds them. */

const counts = new WeakMap<object, Map<string, number>>()

/**
 * Hold a resource. Returns a function that lets it go. When nobody holds it any more, `end` is called after a
 * microtask, because strict mode, and one component in the place of another, let go and hold again at once.
 */
export function hold(owner: object, name: string, end: () => void): () => void {
  const held = counts.get(owner) ?? new Map<string, number>()
  counts.set(owner, held)
  const count = (change: number) => {
    const now = (held.get(name) ?? 0) + change
    held.set(name, now)
    return now
  }
  count(1)
  return () => {
    count(-1)
    queueMicrotask(() => {
      if (held.get(name) !== 0) return
      held.delete(name)
      end()
    })
  }
}
