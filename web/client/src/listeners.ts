/** A set of listeners. */
export class Listeners<Event = void> {
  readonly #all = new Set<(event: Event) => unknown>()

  /** Add a listener, also one that was added before. Returns a function that removes it. */
  readonly add = (listener: (event: Event) => unknown): (() => void) => {
    const own = (event: Event) => listener(event)
    this.#all.add(own)
    return () => this.#all.delete(own)
  }

  /** Call every listener. An error is reported like any uncaught one, and the other listeners are still called. */
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
