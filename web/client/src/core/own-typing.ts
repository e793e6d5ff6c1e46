/** The user's own typing notices. They are repeated while the user types, and end after a pause without a call. */

import { NEVER } from "./never.js"
import type { Newest } from "./throttle.js"

const REPEAT_MS = 4000
const IDLE_MS = 6000

export class OwnTyping implements Newest<boolean> {
  /** The notice that waits. It may be taken at once. */
  #notice: boolean | null = null
  /** The time from which the next key sends a notice again. 0 while no notice is active. */
  #repeatAt = 0
  /** The time at which typing ends without another key. */
  wakeAt = NEVER

  set(isTyping: boolean, now: number): void {
    if (!isTyping) return this.#stop()
    this.wakeAt = now + IDLE_MS
    if (now < this.#repeatAt) return
    this.#repeatAt = now + REPEAT_MS
    this.#notice = true
  }

  /** Send an active notice again: the gateway may not know it. */
  again(): void {
    if (this.#repeatAt) this.#notice = true
  }

  /** Ends typing when its time has come. Returns the notice to send now, or null. */
  take(now: number): boolean | null {
    if (now >= this.wakeAt) this.#stop()
    const notice = this.#notice
    this.#notice = null
    return notice
  }

  /** Forget the notice, because nobody knows it any more. */
  clear(notice: false | null = null): void {
    this.#repeatAt = 0
    this.wakeAt = NEVER
    this.#notice = notice
  }

  #stop(): void {
    this.clear(this.#repeatAt ? false : null)
  }
}
