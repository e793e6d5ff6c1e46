/** The state of joining the wanted room: which answer counts, and what a refusal means. */

import type { ErrorPayload } from "../protocol.js"
import type { RoomState } from "../types.js"
import { backoff } from "./backoff.js"
import { NEVER } from "./never.js"
import { sameRoom } from "./room-id.js"
import { transient } from "./transient.js"

/** Errors that name no message and are not about chat: `Authenticate`, moderators, events and presence cause them. */
const NOT_ABOUT_CHAT = /^(unauthorized|keys_|removed|rename_|broadcast_|presence_too)/

export class Entry {
  #state: RoomState = { status: "none" }
  /** The number of joins without an answer. Only the answer to the last one counts. */
  #asked = 0
  #failures = 0
  /** The time at which to join the wanted room again. */
  wakeAt = NEVER

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
    this.wakeAt = NEVER
  }

  /** Returns the room to ask for now; null if there is none, or if the server has refused it. */
  ask(): string | null {
    this.wakeAt = NEVER
    return this.#state.status === "refused" ? null : this.wanted
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
    this.wakeAt = NEVER
    return true
  }

  /** While a join has no answer yet, an error that names no message may be its answer. */
  isAboutChat({ id, code }: ErrorPayload): boolean {
    return !!id || !(this.pending || NOT_ABOUT_CHAT.test(code))
  }

  /** Handle an error that is not about chat. */
  refused({ code, message }: ErrorPayload, now: number): void {
    // A moderator has removed the user. This answers no join.
    if (code !== "removed") {
      const ours = this.#asked === 1
      this.#answered()
      if (!ours || this.wanted === null) return
      if (transient(code) || this.inside) {
        this.wakeAt = Math.min(this.wakeAt, now + backoff(this.#failures++))
        return
      }
    } else if (!this.inside) return
    this.#state = { status: "refused", roomId: this.wanted as string, code, message }
  }

  #answered(): void {
    if (this.#asked) this.#asked -= 1
  }

  /** Call it when the connection is lost or replaced. The room must be joined again. */
  lost(): void {
    this.#asked = 0
    this.wakeAt = NEVER
    if (this.#state.status === "joined") this.#state = { status: "joining", roomId: this.#state.roomId }
  }
}
