/** Who wants to be told. */
export class Listeners<Event = void> {
  readonly #all = new Set<(event: Event) => unknown>()

  /** Returns what ends it. The same function may be added twice. */
  readonly add = (listener: (event: Event) => unknown): (() => void) => {
    const own = (event: Event) => listener(event)
    this.#all.add(own)
    return () => this.#all.delete(own)
  }

  /** A listener that throws is reported like any uncaught error, and keeps nobody else from being told. */
  readonly tell = (event: Event): void => {
    for (const listener of [...this.#all]) {
      try {
        listener(event)
      } catch (error) {
        setTimeout(() => {
          throw error
        })
      }
    }
  }
}
