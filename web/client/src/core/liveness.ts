/**
 * Whether the peer is still there: after some silence it is asked, and has to answer in time.
 *
 * A timer that rings late (a throttled tab, a sleeping machine) proves nothing, since an answer may wait to be read: the
 * peer is asked once more.
 */

const LATE_MS = 2000

export interface LivenessOptions {
  intervalMs?: number
  timeoutMs?: number
}

export type Verdict = "alive" | "ask" | "dead"

export class Liveness {
  /** When the next verdict is due: a question, or the end. */
  wakeAt: number
  #asked = false
  #excused = false
  readonly #intervalMs: number
  readonly #timeoutMs: number

  constructor(now: number, { intervalMs = 15_000, timeoutMs = 8000 }: LivenessOptions = {}) {
    this.#intervalMs = intervalMs
    this.#timeoutMs = timeoutMs
    this.wakeAt = now + intervalMs
  }

  heard(now: number): void {
    this.wakeAt = now + this.#intervalMs
    this.#asked = this.#excused = false
  }

  /** Something happened that may have cost the connection: ask now, if it is not being asked. */
  doubt(now: number): void {
    if (!this.#asked) this.wakeAt = now
  }

  /** To be called at `wakeAt`. After "ask" the peer has to be asked. */
  poll(now: number): Verdict {
    if (now < this.wakeAt) return "alive"
    const late = now - this.wakeAt >= LATE_MS
    if (this.#asked && (!late || this.#excused)) return "dead"
    this.#excused = this.#asked
    this.#asked = true
    this.wakeAt = now + this.#timeoutMs
    return "ask"
  }
}
