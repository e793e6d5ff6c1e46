/** What is known of one room: who is there, what was said, and what of one's own is not said yet. */

import type {
  ChatPayload,
  CursorPosition,
  ErrorPayload,
  JoinedRoomPayload,
  ServerMessage,
  UserPresence,
} from "../protocol.js"
import type { ChatFailure, ClientEvent, Cursor, Member } from "../types.js"
import { ChatQueue } from "./chat-queue.js"
import { History } from "./history.js"
import { Roster, updated } from "./roster.js"

/** As whom we are connected now, and all ids that we had: a guest may get another one with a new connection. */
export interface Me {
  userId: string
  ids: Set<string>
}

export interface Surroundings {
  emit(event: ClientEvent): void
  /** A cursor moved, or went with its member (null). */
  cursor(userId: string, cursor: Cursor | null): void
}

export class Room {
  readonly roster = new Roster()
  readonly queue = new ChatQueue()
  readonly history: History
  self: Member | null = null
  readonly #me: Me
  readonly #around: Surroundings

  constructor(historyLimit: number | undefined, me: Me, around: Surroundings) {
    this.history = new History(historyLimit)
    this.#me = me
    this.#around = around
  }

  joined(joined: JoinedRoomPayload, at: number): void {
    const again = this.history.begun
    const replaced = this.history.joined(joined)
    const others = joined.users.filter((user) => !this.#isMe(user))
    const { joined: came, left } = this.roster.load(others)
    for (const member of left) this.#left(member)
    // Who watches knows the roster from before, and is told the difference.
    for (const member of came) if (again) this.#around.emit({ type: "userJoined", member })
    for (const { user_id, cursor } of others) if (cursor) this.#moved(user_id, cursor, at)
    if (replaced) this.#around.emit({ type: "historyReset" })
    this.#around.emit({ type: "joined", roomId: joined.room_id, recovered: joined.recovered ?? null })
  }

  /** An event of the room came. `at`: when, as of `performance.now()`. */
  happened(message: ServerMessage, at: number): void {
    switch (message.type) {
      case "UserJoined":
      case "UserUpdated":
        return this.#put(message.payload.user, at)
      case "UserLeft":
        return this.#left(this.roster.remove(message.payload.user_id))
      case "Chat":
        return this.#said(message.payload)
      case "ChatDeleted":
        // It may be one of ours that was deleted before it came back.
        this.queue.stored(message.payload.id)
        return this.history.remove(message.payload)
      case "ChatReset":
        return this.history.reset(message.payload)
      case "CursorUpdate":
        return this.#moved(message.payload.user_id, message.payload, at)
      case "TypingStatus":
        return this.roster.setTyping(message.payload.user_id, message.payload.is_typing)
    }
  }

  /** A message of ours was not taken. */
  refused(id: string, error: ErrorPayload, now: number): void {
    const message = this.queue.refused(id, error, now)
    if (message !== null) this.#around.emit({ type: "chatFailed", message })
  }

  /** The connection is gone. What is known stays. */
  lost(): void {
    this.history.interrupted()
    this.roster.nobodyTypes()
    this.queue.hold()
  }

  /** Nothing of ours will be sent any more. */
  giveUp(failure: ChatFailure): void {
    for (const message of this.queue.failAll(failure)) this.#around.emit({ type: "chatFailed", message })
  }

  #put(user: UserPresence, at: number): void {
    if (this.#isMe(user)) return
    const member = this.roster.put(user)
    if (member !== null) this.#around.emit({ type: "userJoined", member })
    if (user.cursor) this.#moved(user.user_id, user.cursor, at)
  }

  /** Takes what it says of oneself. */
  #isMe(user: UserPresence): boolean {
    const { userId, ids } = this.#me
    if (user.user_id === userId) this.self = updated(this.self, user)
    return ids.has(user.user_id)
  }

  #left(member: Member | null): void {
    if (member === null) return
    this.#around.cursor(member.userId, null)
    this.#around.emit({ type: "userLeft", member })
  }

  #moved(userId: string, { x, y, element_id: elementId = null }: CursorPosition, at: number): void {
    // A cursor may come before its member, and after.
    if (this.roster.has(userId)) this.#around.cursor(userId, { x, y, elementId, at })
  }

  #said({ user_id: userId, ...said }: ChatPayload): void {
    const own = this.#me.ids.has(userId)
    const answered = own && this.queue.stored(said.id)
    const message = { userId, ...said, own, state: "sent" as const }
    const live = this.history.complete
    const isNew = this.history.add(message, { inOrder: !answered })
    if (isNew) this.#around.emit({ type: "chat", message, live })
  }
}
