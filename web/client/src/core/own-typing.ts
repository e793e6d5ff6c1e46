/** The user's own typing notices. They are repeated while the user types, and end after a pause without a call. */

import { NEVER } from "./never.js"

const REPEAT_MS = 4000
const IDLE_MS = 6000

export class OwnTyping {
  /** The time from which the next key sends a notice again. NEVER while no notice is active. */
  #repeatAt = NEVER
  /** The time at which typing ends without another key. */
  wakeAt = NEVER

  /** Returns the notice to send now, or null. */
  set(isTyping: boolean, now: number): boolean | null {
    if (!isTyping) return this.#stop()
    this.wakeAt = now + IDLE_MS
    if (this.#repeatAt !== NEVER && now < this.#repeatAt) return null
    this.#repeatAt = now + REPEAT_MS
    return true
  }

  /** The notice to send to a gateway that may not know it, or null. */
  get again(): true | null {
    return this.#repeatAt === NEVER ? null : true
  }

  /** Ends typing when its time has come. Returns the notice to send now, or null. */
  poll(now: number): boolean | null {
    return now >= this.wakeAt ? this.#stop() : null
  }

  /** Forget the notice, because nobody knows it any more. */
  forget(): void {
    this.#repeatAt = this.wakeAt = NEVER
  }

  #stop(): false | null {
    const told = this.#repeatAt !== NEVER
    this.forget()
    return told ? false : null
  }
}
