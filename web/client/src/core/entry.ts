/** The way into the wanted room, and into it again: which join counts, and what a refusal means. */

import type { ErrorPayload } from "../protocol.js"
import type { RoomState } from "../types.js"
import { backoff } from "./backoff.js"
import { NEVER } from "./never.js"
import { transient } from "./transient.js"

export class Entry {
  #state: RoomState = { status: "none" }
  /** Joins without an answer. The last one counts; what the others come to is of no interest. */
  #asked = 0
  #failures = 0
  readonly #random: () => number

  constructor(random = Math.random) {
    this.#random = random
  }

  get state(): RoomState {
    return this.#state
  }

  get wanted(): string | null {
    return this.#state.status === "none" ? null : this.#state.roomId
  }

  /** Events of the room are ours: not those of the one before, while another is being joined. */
  get inside(): boolean {
    return this.#state.status === "joined"
  }

  /** A join is without an answer; inside, that is one to begin anew. */
  get pending(): boolean {
    return this.#asked > 0
  }

  want(roomId: string): void {
    this.#state = { status: "joining", roomId }
    this.#failures = 0
  }

  unwant(): void {
    this.#state = { status: "none" }
  }

  asked(): void {
    this.#asked += 1
  }

  /** Whether this is the room that is wanted. */
  joined(roomId: string, epoch: string): boolean {
    if (this.wanted === null || bare(this.wanted) !== bare(roomId)) {
      this.#asked = Math.max(0, this.#asked - 1)
      return false
    }
    this.#asked = this.#failures = 0
    this.#state = { status: "joined", roomId: this.wanted, epoch }
    return true
  }

  /** An error that names no message came. Returns after how many milliseconds to ask for the room again. */
  refused({ code, message }: ErrorPayload): number {
    // That is no answer: a moderator has taken us out.
    if (code !== "removed") {
      const ours = this.#asked === 1
      this.#asked = Math.max(0, this.#asked - 1)
      if (!ours || this.wanted === null) return NEVER
      if (transient(code) || this.inside) return backoff(this.#failures++, {}, this.#random)
    } else if (!this.inside) return NEVER
    this.#state = { status: "refused", roomId: this.wanted as string, code, message }
    return NEVER
  }

  /** The connection is gone, or the server says that we are not in the room: it is to be joined again. */
  lost(): void {
    this.#asked = 0
    if (this.#state.status === "joined") this.#state = { status: "joining", roomId: this.#state.roomId }
  }
}

/** A UUID has many spellings, and the server answers in one of them. */
function bare(id: string): string {
  return id.toLowerCase().replace(/^urn:uuid:|[{}-]/g, "")
}
