/** The client: what the user does goes to the pure parts, and what they answer goes to the socket and to who watches. */

import { address } from "./address.js"
import { Alarm } from "./alarm.js"
import { steadyClock } from "./clock.js"
import { Connection } from "./connection.js"
import { isBlank } from "./core/blank.js"
import { NORMAL } from "./core/close-codes.js"
import { Entry } from "./core/entry.js"
import { NEVER } from "./core/never.js"
import { NONE } from "./core/none.js"
import { OwnTyping } from "./core/own-typing.js"
import { Room } from "./core/room.js"
import { Throttle } from "./core/throttle.js"
import { FrameStore } from "./frame-store.js"
import { Identity } from "./identity.js"
import { Listeners } from "./listeners.js"
import { newId } from "./new-id.js"
import type {
  ClientMessage,
  CursorPosition,
  ErrorPayload,
  JoinedRoomPayload,
  ServerMessage,
  WelcomePayload,
} from "./protocol.js"
import { Changes, Store } from "./store.js"
import type {
  ChatMessage,
  Client,
  ClientEvent,
  ClientEventOf,
  ClientOptions,
  ConnectionState,
  Cursor,
  Member,
  Readable,
  RoomState,
} from "./types.js"

export class StudyroomClient implements Client {
  readonly #changes = new Changes()
  readonly #stores = {
    connection: new Store<ConnectionState>(this.#changes, { status: "idle" }),
    room: new Store<RoomState>(this.#changes, { status: "none" }),
    others: new Store<readonly Member[]>(this.#changes, NONE),
    self: new Store<Member | null>(this.#changes, null),
    cursors: new FrameStore<Cursor>(),
    typing: new Store<readonly Member[]>(this.#changes, NONE),
    messages: new Store<readonly ChatMessage[]>(this.#changes, NONE),
  }
  readonly connection: Readable<ConnectionState> = this.#stores.connection
  readonly room: Readable<RoomState> = this.#stores.room
  readonly others: Readable<readonly Member[]> = this.#stores.others
  readonly self: Readable<Member | null> = this.#stores.self
  readonly cursors: Readable<ReadonlyMap<string, Cursor>> = this.#stores.cursors
  readonly typing: Readable<readonly Member[]> = this.#stores.typing
  readonly messages: Readable<readonly ChatMessage[]> = this.#stores.messages

  readonly #options: ClientOptions
  readonly #now = steadyClock()
  readonly #alarm = new Alarm(this.#now, () => this.#do(() => {}))
  readonly #listeners = new Listeners<ClientEvent>()
  readonly #connection: Connection
  readonly #identity: Identity
  readonly #me = { userId: "", ids: new Set<string>() }
  readonly #entry = new Entry()
  readonly #typing = new OwnTyping()
  readonly #cursor: Throttle<CursorPosition>
  #room: Room
  #shown: (readonly ChatMessage[])[] = [NONE, NONE]
  /** Where one's own cursor is: told again to a server that may not know it. */
  #position: CursorPosition | null = null
  #retryWindowMs = 0
  /** The room in the address decides which gateway a connection leads to. */
  #hints = false
  /** What the application sends while the connection is being replaced: for the new one. */
  #held: ClientMessage[] = []
  /** When the room is to be asked for again. */
  #askAt = NEVER

  constructor(options: ClientOptions) {
    this.#options = options
    this.#identity = new Identity(options)
    this.#cursor = new Throttle(options.cursorIntervalMs)
    this.#room = this.#newRoom()
    this.#connection = new Connection(
      {
        ...options,
        // The token may take its time: the room is the one that is wanted then.
        address: async () =>
          address(options.url, {
            ...(await this.#identity.query()),
            room: this.#entry.wanted?.toLowerCase(),
          }),
        now: this.#now,
      },
      {
        connecting: () => this.#do(() => {}),
        opened: (welcome, moved) => this.#do(() => this.#opened(welcome, moved)),
        stayed: () => this.#do(() => this.#ask()),
        message: (message) => {
          // Of these there may be thousands a second, and nothing follows from them.
          if (message.type === "CursorUpdate") this.#changes.run(() => this.#received(message))
          else this.#do(() => this.#received(message))
        },
        closed: (code, reason, reconnects) => this.#do(() => this.#closed(code, reason, reconnects)),
      },
    )
  }

  // --- what the user does ---------------------------------------------------------------------------------

  readonly connect = (): void => this.#do(() => this.#connection.connect())

  readonly close = (): void => this.#do(() => this.#connection.close())

  readonly join = (roomId: string): void =>
    this.#do(() => {
      const { wanted, state } = this.#entry
      if (wanted === roomId && state.status !== "refused") return
      const isIn = this.#isIn
      if (wanted !== null && wanted !== roomId) this.#forgetRoom()
      this.#entry.want(roomId)
      this.#ask()
      // The other room does not wait for the new connection.
      if (isIn && this.#connection.moving) this.#connection.send({ type: "LeaveRoom" })
    })

  readonly leave = (): void =>
    this.#do(() => {
      if (this.#isIn) this.send({ type: "LeaveRoom" })
      this.#connection.stay()
      this.#held = []
      this.#forgetRoom()
      this.#entry.unwant()
    })

  readonly sendChat = (content: string): ChatMessage => {
    if (isBlank(content)) throw new TypeError("a chat message needs content")
    if (this.#entry.wanted === null) throw new Error("no room is wanted: join one first")
    const message: ChatMessage = {
      id: newId(),
      userId: this.#me.userId,
      username: this.#room.self?.username ?? "",
      content,
      timestamp: null,
      seq: null,
      own: true,
      state: "sending",
    }
    this.#do(() => {
      this.#room.queue.add(message)
      this.#sayTyping(this.#typing.set(false, this.#now()))
    })
    return message
  }

  readonly retryChat = (id: string): void => this.#do(() => this.#room.queue.retry(id, newId(), this.#now()))
  readonly discardChat = (id: string): void => this.#do(() => this.#room.queue.discard(id))

  readonly moveCursor = (x: number, y: number, elementId: string | null = null): void =>
    this.#do(() => {
      if (this.#entry.wanted === null) return
      this.#position = { x, y, element_id: elementId }
      this.#cursor.put(this.#position)
    })

  readonly setTyping = (isTyping: boolean): void =>
    this.#do(() => this.#entry.inside && this.#sayTyping(this.#typing.set(isTyping, this.#now())))

  readonly send = (message: ClientMessage): boolean =>
    this.#connection.moving ? this.#held.push(message) > 0 : this.#connection.send(message)

  readonly on = <T extends ClientEvent["type"]>(
    type: T,
    listener: (event: ClientEventOf<T>) => void,
  ): (() => void) =>
    this.#listeners.add((event) => event.type === type && listener(event as ClientEventOf<T>))

  // --- what the connection tells --------------------------------------------------------------------------

  #opened(welcome: WelcomePayload, moved: boolean): void {
    this.#me.userId = welcome.user_id
    this.#me.ids.add(welcome.user_id)
    this.#retryWindowMs = (welcome.chat_retry_seconds ?? 0) * 1000
    this.#identity.welcomed(welcome.guest_token)
    this.#hints = welcome.room_hints ?? false
    if (moved) this.#entry.lost()
    else this.#emit({ type: "open" })
    this.#ask()
  }

  #closed(code: number, reason: string, reconnects: boolean): void {
    this.#entry.lost()
    this.#room.lost()
    this.#typing.forget()
    this.#askAt = NEVER
    this.#held = []
    // Who closes may connect again, and what was written is sent then.
    if (!reconnects && code !== NORMAL) this.#room.giveUp({ code: "closed", message: reason })
    this.#emit({ type: "close", code, reason, reconnects })
  }

  #received(message: ServerMessage): void {
    this.#emit({ type: "message", message })
    if (message.type === "JoinedRoom") this.#joined(message.payload)
    else if (message.type === "Error") this.#refused(message.payload)
    else if (this.#entry.inside) {
      this.#room.happened(message, performance.now())
      if (message.type === "ChatReset") this.#ask()
    }
  }

  #joined(joined: JoinedRoomPayload): void {
    if (!this.#entry.joined(joined.room_id, joined.epoch)) return
    this.#askAt = NEVER
    this.#room.joined(joined, performance.now())
    if (this.#position !== null) this.#cursor.put(this.#position)
  }

  #refused(error: ErrorPayload): void {
    this.#emit({ type: "error", error })
    if (error.id) return this.#room.refused(error.id, error, this.#now())
    this.#askAt = Math.min(this.#askAt, this.#now() + this.#entry.refused(error))
  }

  // --- the room -------------------------------------------------------------------------------------------

  #newRoom(): Room {
    return new Room(this.#options.historyLimit, this.#me, {
      emit: (event) => this.#emit(event),
      cursor: (userId, cursor) => this.#stores.cursors.put(userId, cursor),
    })
  }

  #forgetRoom(): void {
    this.#room.giveUp({ code: "left", message: "the room was left" })
    this.#room = this.#newRoom()
    this.#stores.cursors.clear()
    this.#cursor.clear()
    this.#typing.forget()
    this.#position = null
    this.#askAt = NEVER
  }

  /** The open connection is in a room, or will be. */
  get #isIn(): boolean {
    return (this.#entry.inside || this.#entry.pending) && !this.#connection.moving
  }

  /** Join the wanted room, or join it again, with the connection that is for it. */
  #ask(): void {
    this.#askAt = NEVER
    const { state } = this.#entry
    if (state.status !== "joining" && state.status !== "joined") return
    if (this.#hints && this.#connection.moveTo(state.roomId.toLowerCase())) return
    const payload = { room_id: state.roomId, ...this.#room.history.resume }
    if (this.send({ type: "JoinRoom", payload })) this.#entry.asked()
    for (const message of this.#held.splice(0)) this.send(message)
  }

  #sayTyping(isTyping: boolean | null): void {
    if (isTyping !== null) this.send({ type: "Typing", payload: { is_typing: isTyping } })
  }

  // --- after everything -----------------------------------------------------------------------------------

  /** Do something, then what is due; show what is, and wake when the next is due. */
  #do(work: () => unknown): void {
    this.#changes.run(() => {
      work()
      const now = this.#now()
      if (now >= this.#askAt) this.#ask()
      this.#sayTyping(this.#typing.poll(now))
      const due = [this.#askAt, this.#typing.wakeAt, this.#sendQueued(now), this.#sendCursor(now)]
      this.#alarm.set(Math.min(...due))
      this.#show()
    })
  }

  #sendQueued(now: number): number {
    const { queue, history } = this.#room
    // First what was missed, which may hold what is queued; then the rest.
    if (this.#entry.inside && !this.#entry.pending && history.complete)
      queue.open(this.#retryWindowMs, this.#me.userId)
    else queue.hold()
    const { send, failed, wakeAt } = queue.poll(now)
    for (const message of failed) this.#emit({ type: "chatFailed", message })
    if (send !== null) this.send({ type: "Chat", payload: { content: send.content, id: send.id } })
    return wakeAt
  }

  #sendCursor(now: number): number {
    if (!this.#entry.inside) return NEVER
    const payload = this.#cursor.take(now)
    if (payload !== null) this.send({ type: "CursorMove", payload })
    return this.#cursor.wakeAt
  }

  #show(): void {
    const { roster, self, history, queue } = this.#room
    const { connection, room, others, typing, self: ownMember, messages } = this.#stores
    connection.set(this.#connection.state)
    room.set(this.#entry.state)
    others.set(roster.members)
    typing.set(roster.typing)
    ownMember.set(self)
    const parts = [history.messages, queue.messages]
    // Messages that take the place of others are shown when all are there.
    if (!history.complete || parts.every((part, index) => part === this.#shown[index])) return
    this.#shown = parts
    messages.set(parts.flat())
  }

  #emit(event: ClientEvent): void {
    this.#changes.after(() => this.#listeners.tell(event))
  }
}
