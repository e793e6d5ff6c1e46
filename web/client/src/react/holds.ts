/** What is had for as long as any component wants it. */

const counts = new WeakMap<object, Map<string, number>>()

/**
 * Returns what lets go; when nobody holds it any more `end` is called. Not at once: strict mode, and one component in the
 * place of another, let go and take again in the same turn, and that is no end.
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
