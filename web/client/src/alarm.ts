import { NEVER } from "./core/never.js"

/** Timers count in 32 bits: one that is set to more than 24.8 days rings at once. */
const LONGEST_MS = 2 ** 31 - 1

/** One timer, set to a time of the clock; setting it again takes the place of the time before. It may ring early. */
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
