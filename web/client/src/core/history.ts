/** The stored messages of one room, in order and each once, with the position from which to resume. */

import type { ChatDeletedPayload, ChatResetPayload, JoinedRoomPayload } from "../protocol.js"
import type { ChatMessage } from "../types.js"
import { NEVER } from "./never.js"
import { NONE } from "./none.js"

/** The server sends a newcomer at most so many bytes of messages. */
const NEWCOMER_BYTES_MAX = 256 * 1024
/** About what a message takes besides its content. */
const MESSAGE_BYTES = 300
const UTF8_BYTES_MAX = 3

export type StoredMessage = ChatMessage & { seq: number }

export class History {
  // The first four are for others to read, and only for `History` to write.

  /** The same array until something changes. */
  messages: readonly StoredMessage[] = NONE
  /** Counts how often the messages have started over. */
  round = 0
  /** Whether there may be messages before the first one. */
  hasMore = false
  /** Whether the first message is certainly the first of the room. `hasMore` may be wrong after many deletions. */
  whole = false
  #epoch: string | null = null
  #position: number | null = null
  /** The number of earlier messages that have not arrived yet. */
  #awaited = 0
  readonly #limit: () => number
  /** The number of earlier messages that the user has asked for. They are kept beyond the limit. */
  #askedFor = 0
  /** Every message from this position on is shown or deleted. Null before any is known. */
  #before: number | null = null
  /** How many bytes of messages a newcomer may still get. */
  #roomBytes = 0
  /** Positions that were deleted while a page of earlier messages was on its way. Null at other times. */
  #deletedMeanwhile: Set<number> | null = null

  /** `limit`: the most messages to keep, or a function that returns the present limit. */
  constructor(limit: number | (() => number) = 1000) {
    this.#limit = typeof limit === "function" ? limit : () => limit
  }

  /** Whether the room was joined before. */
  get begun(): boolean {
    return this.#epoch !== null
  }

  /** Whether all earlier messages have arrived. */
  get complete(): boolean {
    return this.#awaited === 0
  }

  /** The position for `JoinRoom`, or nothing if there is none. */
  get resume(): { since?: number; epoch?: string } {
    return this.#position === null ? {} : { since: this.#position, epoch: this.#epoch as string }
  }

  /** Returns whether the messages shown so far are void. The messages that follow replace them. */
  joined(
    { epoch, recovered, history = 0, last_seq: lastSeq = null }: JoinedRoomPayload,
    historyLength = NEVER,
  ): boolean {
    const replaced = !recovered && this.begun
    if (!recovered) {
      this.round += 1
      this.messages = NONE
      this.#position = null
      this.#before = null
      // The server sends fewer than that if there are no more, or if they would be too large together.
      this.hasMore = history >= historyLength
      this.whole = false
      this.#roomBytes = NEWCOMER_BYTES_MAX
    }
    this.#epoch = epoch
    this.#awaited = history
    // Otherwise the messages that follow move the position. After a resume, notices of deletions may follow too.
    if (!history && !recovered && lastSeq !== null) this.#moveTo(lastSeq)
    return replaced
  }

  /** Returns whether the message is new here. `inOrder`: everything before it has come, so the position moves to it. */
  add(message: StoredMessage, { inOrder }: { inOrder: boolean }): boolean {
    if (inOrder) this.#moveTo(message.seq)
    if (this.#awaited > 0) this.#arrived(message)
    const older = this.messages.filter(({ seq }) => seq < message.seq)
    const newer = this.messages.slice(older.length)
    if (newer[0]?.seq === message.seq) return false
    this.#before = Math.min(this.#before ?? message.seq, message.seq)
    this.#show([...older, message, ...newer])
    return true
  }

  /** Begin to load earlier messages. Returns the position that they end before; null for the newest page. */
  loading(): number | null {
    this.#deletedMeanwhile = new Set()
    return this.#before
  }

  /**
   * Add a page of earlier messages. `before`: the position that the next page ends before; null if there is none.
   * Returns the messages that are new here.
   */
  loaded(page: readonly StoredMessage[], before: number | null): readonly StoredMessage[] {
    const known = new Set(this.messages.map(({ seq }) => seq))
    const fresh = page.filter(({ seq }) => !known.has(seq) && !this.#deletedMeanwhile?.has(seq))
    this.notLoaded()
    this.#askedFor += fresh.length
    this.#before = before ?? fresh[0]?.seq ?? this.#before
    this.hasMore = before !== null
    this.whole = !this.hasMore
    if (fresh.length > 0)
      this.messages = [...fresh, ...this.messages].sort((one, other) => one.seq - other.seq)
    return fresh
  }

  notLoaded(): void {
    this.#deletedMeanwhile = null
  }

  /** Remove a deleted message. Its notice has a position of its own, like a message. */
  remove({ deleted_seq: deleted, seq }: Pick<ChatDeletedPayload, "deleted_seq" | "seq">): void {
    this.#moveTo(seq)
    this.#deletedMeanwhile?.add(deleted)
    this.messages = this.messages.filter((message) => message.seq !== deleted)
  }

  /** Forget the position, so that the next join starts over. */
  reset({ epoch }: ChatResetPayload): void {
    this.#epoch = epoch
    this.round += 1
    this.#position = null
  }

  /** Stop waiting for earlier messages, because the connection is lost. */
  interrupted(): void {
    this.#awaited = 0
  }

  #arrived({ content }: StoredMessage): void {
    this.#awaited -= 1
    this.#roomBytes -= MESSAGE_BYTES + UTF8_BYTES_MAX * content.length
    if (this.#roomBytes < 0) this.hasMore = true
  }

  #show(messages: StoredMessage[]): void {
    this.messages = messages.slice(-(this.#limit() + this.#askedFor))
    if (this.messages.length === messages.length) return
    this.#before = this.messages[0]?.seq ?? null
    this.hasMore = true
    this.whole = false
  }

  #moveTo(position: number): void {
    this.#position = Math.max(this.#position ?? 0, position)
  }
}
