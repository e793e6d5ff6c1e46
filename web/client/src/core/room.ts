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

export interface RoomOptions {
  historyLimit: number
  random: () => number
  /** As whom we connect now, and all ids that we had before: a guest may get another one with a new connection. */
  me: { userId: string; ids: Set<string> }
  emit: (event: ClientEvent) => void
  /** A cursor moved, or went with its member (null). */
  cursor: (userId: string, cursor: Cursor | null) => void
}

export class Room {
  readonly roster = new Roster()
  readonly queue: ChatQueue
  readonly history: History
  self: Member | null = null
  readonly #options: RoomOptions

  constructor(options: RoomOptions) {
    this.#options = options
    this.queue = new ChatQueue(options.random)
    this.history = new History(options.historyLimit)
  }

  joined(joined: JoinedRoomPayload, at: number): void {
    const { emit, me } = this.#options
    const again = this.history.begun
    const replaced = this.history.joined(joined)
    const self = joined.users.find((user) => user.user_id === me.userId)
    if (self) this.self = updated(this.self, self)
    const others = joined.users.filter((user) => !me.ids.has(user.user_id))
    this.#meet(others, again, at)
    if (replaced) emit({ type: "historyReset" })
    emit({ type: "joined", roomId: joined.room_id, recovered: joined.recovered ?? null })
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
    if (message !== null) this.#options.emit({ type: "chatFailed", message })
  }

  /** The connection is gone. What is known stays. */
  lost(): void {
    this.history.interrupted()
    this.roster.nobodyTypes()
    this.queue.hold()
  }

  /** Nothing of ours will be sent any more. */
  giveUp(failure: ChatFailure): void {
    for (const message of this.queue.failAll(failure)) this.#options.emit({ type: "chatFailed", message })
  }

  /** `again`: who watches knows the roster from before, and is told the difference. */
  #meet(others: UserPresence[], again: boolean, at: number): void {
    const { joined, left } = this.roster.load(others)
    for (const member of left) this.#left(member)
    for (const member of joined) if (again) this.#options.emit({ type: "userJoined", member })
    for (const { user_id, cursor } of others) if (cursor) this.#moved(user_id, cursor, at)
  }

  #put(user: UserPresence, at: number): void {
    const { emit, me } = this.#options
    if (user.user_id === me.userId) this.self = updated(this.self, user)
    if (me.ids.has(user.user_id)) return
    const member = this.roster.put(user)
    if (member !== null) emit({ type: "userJoined", member })
    if (user.cursor) this.#moved(user.user_id, user.cursor, at)
  }

  #left(member: Member | null): void {
    if (member === null) return
    this.#options.cursor(member.userId, null)
    this.#options.emit({ type: "userLeft", member })
  }

  #moved(userId: string, { x, y, element_id: elementId = null }: CursorPosition, at: number): void {
    // A cursor may come before its member, and after.
    if (this.roster.has(userId)) this.#options.cursor(userId, { x, y, elementId, at })
  }

  #said({ user_id: userId, ...said }: ChatPayload): void {
    const own = this.#options.me.ids.has(userId)
    const answered = own && this.queue.stored(said.id)
    const message = { userId, ...said, own, state: "sent" as const }
    const live = this.history.complete
    const isNew = this.history.add(message, { inOrder: !answered })
    if (isNew) this.#options.emit({ type: "chat", message, live })
  }
}
