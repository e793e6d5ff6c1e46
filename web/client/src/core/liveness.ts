/**
 * Whether the peer is still there. After some silence the client asks it, and the peer must answer in time.
 *
 * A timer that rings late (a throttled tab, a sleeping machine) proves nothing, because an answer may be waiting to be
 * read. The client then asks once more.
 */

const LATE_MS = 2000

export interface LivenessOptions {
  intervalMs?: number
  timeoutMs?: number
}

export type Verdict = "alive" | "ask" | "dead"

export class Liveness {
  /** The time of the next verdict: "ask" or "dead". */
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

  /** Ask now, unless the peer has been asked already. Call it when the connection may have been lost. */
  doubt(now: number): void {
    if (!this.#asked) this.wakeAt = now
  }

  /** Call it at `wakeAt`. After "ask", send a Ping. */
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
