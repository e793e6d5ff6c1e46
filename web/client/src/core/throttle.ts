import { NEVER } from "./never.js"

/** At most one value in an interval: the first at once, and of those that come meanwhile the last. */
export class Throttle<T> {
  #waiting: T | null = null
  #freeAt = 0
  readonly #intervalMs: number

  constructor(intervalMs = 50) {
    this.#intervalMs = intervalMs
  }

  put(value: T): void {
    this.#waiting = value
  }

  clear(): void {
    this.#waiting = null
  }

  /** The value that is to go now. */
  take(now: number): T | null {
    if (now < this.#freeAt) return null
    const value = this.#waiting
    this.#waiting = null
    if (value !== null) this.#freeAt = now + this.#intervalMs
    return value
  }

  /** When the next value may go. */
  get wakeAt(): number {
    return this.#waiting === null ? NEVER : this.#freeAt
  }
}
