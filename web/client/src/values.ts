/** The values that an application reads and watches. */

import { DEFAULT_LIMITS } from "./core/limits.js"
import { NONE } from "./core/none.js"
import { NO_PRESENCE } from "./core/presence.js"
import type { Room } from "./core/room.js"
import { FrameStore } from "./frame-store.js"
import { type Changes, Store } from "./store.js"
import type { ChatMessage, ConnectionState, Cursor, Limits, Member, Presence, RoomState } from "./types.js"

export class Values {
  readonly connection: Store<ConnectionState>
  readonly room: Store<RoomState>
  readonly others: Store<readonly Member[]>
  readonly self: Store<Member | null>
  readonly presence: Store<Presence>
  readonly cursors = new FrameStore<Cursor>()
  readonly typing: Store<readonly Member[]>
  readonly messages: Store<readonly ChatMessage[]>
  readonly hasMore: Store<boolean>
  readonly limits: Store<Limits>
  #shown: (readonly ChatMessage[])[] = [NONE, NONE]

  constructor(changes: Changes) {
    const store = <T>(value: T) => new Store<T>(changes, value)
    this.connection = store<ConnectionState>({ status: "idle" })
    this.room = store<RoomState>({ status: "none" })
    this.others = store<readonly Member[]>(NONE)
    this.self = store<Member | null>(null)
    this.presence = store(NO_PRESENCE)
    this.typing = store<readonly Member[]>(NONE)
    this.messages = store<readonly ChatMessage[]>(NONE)
    this.hasMore = store<boolean>(false)
    this.limits = store(DEFAULT_LIMITS)
  }

  /** Take the values that they have now. */
  show(connection: ConnectionState, state: RoomState, room: Room): void {
    const { roster, self, history, queue, presence } = room
    this.connection.set(connection)
    this.room.set(state)
    this.others.set(roster.members)
    this.typing.set(roster.typing)
    this.self.set(self)
    this.presence.set(presence.shown(self?.presence ?? NO_PRESENCE, this.presence.get()))
    this.hasMore.set(history.hasMore)
    const parts = [history.messages, queue.messages]
    // Messages that replace others are shown together, when all have arrived.
    if (!history.complete || parts.every((part, index) => part === this.#shown[index])) return
    this.#shown = parts
    this.messages.set(parts.flat())
  }
}
