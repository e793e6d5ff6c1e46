/** What to say of one's own typing: that it goes on, every few seconds, and that it has ended, also when nobody says so. */

import { NEVER } from "./never.js"

const REPEAT_MS = 4000
const IDLE_MS = 6000

export class OwnTyping {
  /** Others are told again at the next key after this time; NEVER while they are told that nobody types. */
  #repeatAt = NEVER
  /** When it ends without another key. */
  wakeAt = NEVER

  /** Returns what to say now, or null. */
  set(isTyping: boolean, now: number): boolean | null {
    if (!isTyping) return this.#stop()
    this.wakeAt = now + IDLE_MS
    if (this.#repeatAt !== NEVER && now < this.#repeatAt) return null
    this.#repeatAt = now + REPEAT_MS
    return true
  }

  /** The same when time has passed. */
  poll(now: number): boolean | null {
    return now >= this.wakeAt ? this.#stop() : null
  }

  /** Whoever was told has forgotten it. */
  forget(): void {
    this.#repeatAt = this.wakeAt = NEVER
  }

  #stop(): false | null {
    const told = this.#repeatAt !== NEVER
    this.forget()
    return told ? false : null
  }
}
