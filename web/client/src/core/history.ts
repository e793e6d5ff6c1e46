/** The stored messages of one room, in order and each once, and the position from which to resume. */

import type { ChatDeletedPayload, ChatResetPayload, JoinedRoomPayload } from "../protocol.js"
import type { ChatMessage } from "../types.js"
import { NONE } from "./none.js"

export type StoredMessage = ChatMessage & { seq: number }

export class History {
  #messages: readonly StoredMessage[] = NONE
  #epoch: string | null = null
  #position: number | null = null
  /** Messages of the past that are still to come. */
  #awaited = 0
  readonly #limit: number

  constructor(limit = 1000) {
    this.#limit = limit
  }

  /** The same array while nothing changes. */
  get messages(): readonly StoredMessage[] {
    return this.#messages
  }

  /** The room was joined before. */
  get begun(): boolean {
    return this.#epoch !== null
  }

  /** Nothing of the past is still to come. */
  get complete(): boolean {
    return this.#awaited === 0
  }

  /** What a join says of the position; empty when there is none. */
  get resume(): { since?: number; epoch?: string } {
    return this.#position === null ? {} : { since: this.#position, epoch: this.#epoch as string }
  }

  /** Returns whether what was shown is void: what follows takes its place. */
  joined({ epoch, recovered, history = 0, last_seq: lastSeq = null }: JoinedRoomPayload): boolean {
    const replaced = !recovered && this.begun
    if (!recovered) {
      this.#messages = NONE
      this.#position = null
    }
    this.#epoch = epoch
    this.#awaited = history
    // Otherwise the position is that of the last of them; and what was deleted meanwhile is still to be told.
    if (!history && !recovered && lastSeq !== null) this.#moveTo(lastSeq)
    return replaced
  }

  /** Whether the message is new here. `inOrder`: everything before it has come, so that the position moves on. */
  add(message: StoredMessage, { inOrder }: { inOrder: boolean }): boolean {
    if (inOrder) this.#moveTo(message.seq)
    if (this.#awaited > 0) this.#awaited -= 1
    const older = this.#messages.filter(({ seq }) => seq < message.seq)
    const newer = this.#messages.slice(older.length)
    if (newer[0]?.seq === message.seq) return false
    this.#messages = [...older, message, ...newer].slice(-this.#limit)
    return true
  }

  /** A message was deleted, which is told in order like any other. */
  remove({ deleted_seq: deleted, seq }: Pick<ChatDeletedPayload, "deleted_seq" | "seq">): void {
    this.#moveTo(seq)
    this.#messages = this.#messages.filter((message) => message.seq !== deleted)
  }

  /** Positions are void: the next join begins anew. */
  reset({ epoch }: ChatResetPayload): void {
    this.#epoch = epoch
    this.#position = null
  }

  /** The connection is gone, and what was awaited does not come over it. */
  interrupted(): void {
    this.#awaited = 0
  }

  #moveTo(position: number): void {
    this.#position = Math.max(this.#position ?? 0, position)
  }
}
