import { NEVER } from "./core/never.js"

/** The longest wait of one timer. Timers count in 32 bits, and one with more than 24.8 days rings at once. */
const LONGEST_MS = 2 ** 31 - 1

/** One timer for a time of the clock. Setting it again replaces the earlier time. It may ring early. */
export class Alarm {
  #timer: ReturnType<typeof setTimeout> | undefined
  #at = NEVER
  readonly #now: () => number
  readonly #ring: () => void

  constructor(now: () => number, ring: () => void) {
    this.#now = now
    this.#ring = ring
  }

  set(at: number): void {
    if (at === this.#at) return
    clearTimeout(this.#timer)
    this.#at = at
    if (at === NEVER) return
    const ring = () => {
      this.#at = NEVER
      this.#ring()
    }
    this.#timer = setTimeout(ring, Math.min(at - this.#now(), LONGEST_MS))
  }
}
