import { NEVER } from "./never.js"

/** Values of which a newer one replaces one that still waits. */
export interface Newest<T> {
  /** Returns the value to send now, or null. */
  take(now: number): T | null
  /** The time at which the next value may be sent. */
  readonly wakeAt: number
}

/**
 * Lets at most one value through in each interval: the first one at once, then the last one that has come meanwhile.
 */
export class Throttle<T> implements Newest<T> {
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

  /** Returns the value to send now, or null. */
  take(now: number): T | null {
    if (now < this.#freeAt) return null
    const value = this.#waiting
    this.#waiting = null
    if (value !== null) this.#freeAt = now + this.#intervalMs
    return value
  }

  /** The time at which the next value may be sent. */
  get wakeAt(): number {
    return this.#waiting === null ? NEVER : this.#freeAt
  }
}
