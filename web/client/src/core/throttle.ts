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
  #newest: T | null = null
  #waiting: T | null = null
  #freeAt = 0
  readonly #intervalMs: number

  constructor(intervalMs = 50) {
    this.#intervalMs = intervalMs
  }

  /** `value`: null for none. */
  put(value: T | null): void {
    this.#newest = value
    this.again()
  }

  /** Let the newest value through again, if there is one: the receiver may not know it. */
  again(): void {
    this.#waiting = this.#newest
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
