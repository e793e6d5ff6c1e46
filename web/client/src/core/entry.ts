/** The state of joining the wanted room: which answer counts, and what a refusal means. */

import type { ErrorPayload } from "../protocol.js"
import type { RoomState } from "../types.js"
import { backoff } from "./backoff.js"
import { NEVER } from "./never.js"
import { sameRoom } from "./room-id.js"
import { transient } from "./transient.js"

export class Entry {
  #state: RoomState = { status: "none" }
  /** The number of joins without an answer. Only the answer to the last one counts. */
  #asked = 0
  #failures = 0

  get state(): RoomState {
    return this.#state
  }

  get wanted(): string | null {
    return this.#state.status === "none" ? null : this.#state.roomId
  }

  /** Whether events of a room apply. While the client is joining a room, they are those of the room before. */
  get inside(): boolean {
    return this.#state.status === "joined"
  }

  /** Whether a join has no answer yet. The client may be inside then: after `ChatReset` it joins the room again. */
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

  /** Returns whether this is the wanted room. */
  joined(roomId: string, epoch: string): boolean {
    if (this.wanted === null || !sameRoom(this.wanted, roomId)) {
      this.#answered()
      return false
    }
    this.#asked = this.#failures = 0
    this.#state = { status: "joined", roomId: this.wanted, epoch }
    return true
  }

  /** Handle an error that names no message. Returns the milliseconds until the next join, or NEVER. */
  refused({ code, message }: ErrorPayload): number {
    // A moderator has removed the user. This answers no join.
    if (code !== "removed") {
      const ours = this.#asked === 1
      this.#answered()
      if (!ours || this.wanted === null) return NEVER
      if (transient(code) || this.inside) return backoff(this.#failures++)
    } else if (!this.inside) return NEVER
    this.#state = { status: "refused", roomId: this.wanted as string, code, message }
    return NEVER
  }

  #answered(): void {
    if (this.#asked) this.#asked -= 1
  }

  /** Call it when the connection is lost or replaced. The room must be joined again. */
  lost(): void {
    this.#asked = 0
    if (this.#state.status === "joined") this.#state = { status: "joining", roomId: this.#state.roomId }
  }
}
