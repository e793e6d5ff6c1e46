/** The state of one room: its members, its chat, and the user's own messages that are not stored yet. */

import type {
  BroadcastPayload,
  ChatDeletedPayload,
  ChatPayload,
  ChatSendPayload,
  ClientMessage,
  CursorPosition,
  ErrorPayload,
  JoinedRoomPayload,
  PresenceChangedPayload,
  ServerMessage,
  UserPresence,
} from "../protocol.js"
import type { ChatFailure, ChatMessage, ClientEvent, Cursor, Member } from "../types.js"
import { ChatQueue } from "./chat-queue.js"
import { History } from "./history.js"
import { OwnPresence } from "./presence.js"
import { changed, Roster, updated } from "./roster.js"

/** The user's id, and all ids that this client has had. A guest may get another id with a new connection. */
export interface Me {
  userId: string
  ids: Set<string>
}

export interface Surroundings {
  emit(event: ClientEvent): void
  /** A cursor moved. With null, its member has left. */
  cursor(userId: string, cursor: Cursor | null): void
  /** The server has stored an own message. */
  stored(message: ChatMessage): void
}

export class Room {
  readonly roster = new Roster()
  readonly queue = new ChatQueue()
  readonly history: History
  readonly presence = new OwnPresence()
  self: Member | null = null
  readonly #me: Me
  readonly #around: Surroundings

  constructor(historyLimit: number | (() => number) | undefined, me: Me, around: Surroundings) {
    this.history = new History(historyLimit)
    this.#me = me
    this.#around = around
  }

  /** `historyLength`: how many messages a newcomer gets at most. */
  joined(joined: JoinedRoomPayload, at: number, historyLength: number): void {
    const again = this.history.begun
    const replaced = this.history.joined(joined, historyLength)
    const own = joined.users.find((user) => user.user_id === this.#me.userId)
    this.presence.joined(own?.presence ?? {})
    const others = joined.users.filter((user) => !this.#isMe(user))
    const { joined: came, left } = this.roster.load(others)
    for (const member of left) this.#left(member)
    // From the second join on, subscribers know the roster from before and receive the difference.
    for (const member of came) if (again) this.#around.emit({ type: "userJoined", member })
    for (const { user_id, cursor } of others) if (cursor) this.#moved(user_id, cursor, at)
    if (replaced) this.#around.emit({ type: "historyReset" })
    this.#around.emit({ type: "joined", roomId: joined.room_id, recovered: joined.recovered ?? null })
  }

  /** Handle an event of the room. `at` is its time of arrival on the clock of `performance.now()`. */
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
        this.#deleted(message.payload)
        return this.history.remove(message.payload)
      case "ChatReset":
        return this.history.reset(message.payload)
      case "CursorUpdate":
        return this.#moved(message.payload.user_id, message.payload, at)
      case "Broadcast":
        return this.#sent(message.payload)
      case "PresenceChanged":
        return this.#changed(message.payload)
      case "TypingStatus":
        return this.roster.setTyping(message.payload.user_id, message.payload.is_typing)
    }
  }

  /** Handle the refusal of an own message. Without an `id`, it is the one under way. */
  refused(error: ErrorPayload, now: number): void {
    const { queue } = this
    const message = error.id ? queue.refused(error.id, error, now) : queue.refusedUnderWay(error, now)
    if (message !== null) this.#failed([message])
  }

  /** Handle the loss of the connection. Roster and messages stay. */
  lost(): void {
    this.history.interrupted()
    this.roster.nobodyTypes()
    this.queue.hold()
  }

  /** Fail all own messages that are not stored. */
  giveUp(failure: ChatFailure): void {
    this.#failed(this.queue.failAll(failure))
  }

  /**
   * Send the own message that is due, and fail those whose time is over. Returns the time of the next one. `isReady`:
   * whether the client is in the room. `failure`: why it will not be; null if it may.
   */
  poll(
    now: number,
    isReady: boolean,
    retryWindowMs: number,
    failure: ChatFailure | null,
    send: (message: ClientMessage) => unknown,
  ): number {
    const { queue } = this
    if (failure !== null) this.giveUp(failure)
    // Missed messages come first, because queued messages may be among them. The rest is sent after them.
    if (isReady && this.history.complete) queue.open(retryWindowMs, this.#me.userId)
    else queue.hold()
    const { send: due, failed, wakeAt } = queue.poll(now)
    this.#failed(failed)
    if (due !== null) {
      const { content, id, reply_to, mentions } = due
      send({ type: "Chat", payload: { content, id, reply_to, mentions } as ChatSendPayload })
    }
    return wakeAt
  }

  #failed(messages: readonly ChatMessage[]): void {
    for (const message of messages) this.#around.emit({ type: "chatFailed", message })
  }

  #put(user: UserPresence, at: number): void {
    if (this.#isMe(user)) return
    const member = this.roster.put(user)
    if (member !== null) this.#around.emit({ type: "userJoined", member })
    if (user.cursor) this.#moved(user.user_id, user.cursor, at)
  }

  /** Returns whether this is the user of this client, and updates `self`. */
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
    // A cursor may arrive before its member has joined or after the member has left.
    if (this.roster.has(userId)) this.#around.cursor(userId, { x, y, elementId, at })
  }

  #sent({ user_id: userId, event, data, key = null }: BroadcastPayload): void {
    this.#around.emit({ type: "broadcast", userId, event, data, key })
  }

  #changed({ user_id: userId, fields }: PresenceChangedPayload): void {
    this.roster.changePresence(userId, fields)
    if (this.self?.userId !== userId) return
    this.presence.changed(fields)
    this.self = changed(this.self, fields)
  }

  /** A moderator may delete an own message before it comes back. It was stored. */
  #deleted({ id, deleted_seq: seq }: ChatDeletedPayload): void {
    const message = this.queue.find(id)
    this.queue.stored(id)
    if (message) this.#around.stored({ ...message, seq, state: "sent" })
  }

  #said({ user_id: userId, ...said }: ChatPayload): void {
    const own = this.#me.ids.has(userId)
    const answered = own && this.queue.stored(said.id)
    const message = { userId, ...said, own, state: "sent" as const }
    if (own) this.#around.stored(message)
    const live = this.history.complete
    const isNew = this.history.add(message, { inOrder: !answered })
    if (isNew) this.#around.emit({ type: "chat", message, live })
  }
}
