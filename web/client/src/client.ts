/**
 * The client. It passes calls and messages of the server to the pure parts in `core`, and their results to the
 * connection and to subscribers.
 */

import { address } from "./address.js"
import { Alarm } from "./alarm.js"
import type { Archive } from "./archive.js"
import { steadyClock } from "./clock.js"
import { Connection } from "./connection.js"
import { isBlank } from "./core/blank.js"
import { hintedRoom } from "./core/close-codes.js"
import { Entry } from "./core/entry.js"
import { hopeless } from "./core/hopeless.js"
import { checkedBy, DEFAULT_LIMITS, excess, statedLimits } from "./core/limits.js"
import { checkEvent, checkFields } from "./core/names.js"
import { OwnValues } from "./core/own-values.js"
import { Room } from "./core/room.js"
import { sameRoom } from "./core/room-id.js"
import { updated } from "./core/roster.js"
import { StudyroomError } from "./error.js"
import { Identity } from "./identity.js"
import { Listeners } from "./listeners.js"
import { Log } from "./log.js"
import { newId } from "./new-id.js"
import { LEFT, Outcomes, quiet, rejected } from "./outcome.js"
import type {
  ClientMessage,
  ErrorPayload,
  JoinedRoomPayload,
  ServerMessage,
  WelcomePayload,
} from "./protocol.js"
import { Changes } from "./store.js"
import type {
  Cause,
  ChatMessage,
  ChatReferences,
  Client,
  ClientEvent,
  ClientEventOf,
  ClientOptions,
  Limits,
  Member,
  PresenceChange,
  RoomState,
  SentChat,
} from "./types.js"
import { Values } from "./values.js"

/** The only id in `#joining`. */
const WANTED = ""

export class StudyroomClient implements Client {
  readonly #changes = new Changes()
  readonly #values = new Values(this.#changes)
  declare readonly connection: Client["connection"]
  declare readonly room: Client["room"]
  declare readonly others: Client["others"]
  declare readonly self: Client["self"]
  declare readonly presence: Client["presence"]
  declare readonly cursors: Client["cursors"]
  declare readonly typing: Client["typing"]
  declare readonly messages: Client["messages"]
  declare readonly hasMore: Client["hasMore"]
  declare readonly limits: Client["limits"]

  readonly #options: ClientOptions
  readonly #log: Log
  readonly #now = steadyClock()
  readonly #alarm = new Alarm(this.#now, () => this.#do())
  readonly #listeners = new Listeners<ClientEvent>()
  readonly #connection: Connection
  readonly #identity: Identity
  #archive: Archive | null = null
  readonly #me = { userId: "", ids: new Set<string>() }
  readonly #entry = new Entry()
  readonly #own: OwnValues
  #room: Room
  /** Own messages whose outcome is not known yet. */
  readonly #sent = new Outcomes<ChatMessage>()
  /** The outcome of joining the wanted room, if it is not known yet. */
  readonly #joining = new Outcomes<RoomState>()
  /** Null before the first `Welcome`. */
  #limits: Limits | null = null
  /** The newest one. */
  #welcome: Partial<WelcomePayload> = {}
  /** The server's value for `?room=` in place of the wanted room, because a large room lives on several gateways. */
  #hint: string | null = null
  /** Messages that the application sends while the connection is being replaced. They wait for the outcome. */
  #held: ClientMessage[] = []

  constructor(options: ClientOptions) {
    Object.assign(this, this.#values)
    this.#options = options
    this.#log = new Log(options.debug)
    this.#identity = new Identity(options)
    this.#own = new OwnValues(options.cursorIntervalMs)
    this.#room = this.#newRoom()
    this.#connection = new Connection(
      {
        ...options,
        // The token may take a while. The room is read after it, because it may have changed.
        address: async () => {
          const { query, protocols } = await this.#identity.credentials()
          const room = this.#entry.wanted?.toLowerCase() ?? null
          const { href } = address(options.url, { ...query, room: this.#hint ?? room, moving: "true" })
          return { room, href, protocols }
        },
        renewsToken: typeof options.token === "function",
        now: this.#now,
        log: this.#log,
      },
      {
        opened: (welcome, moved, joined) => this.#do(() => this.#opened(welcome, moved, joined)),
        rejoin: () => (this.#entry.inside ? this.#joinRoom(this.#entry.wanted as string) : null),
        stayed: () => this.#do(() => this.#ask()),
        message: (message) => {
          // There may be thousands of these a second, and nothing else depends on them.
          if (message.type === "CursorUpdate") this.#changes.run(() => this.#received(message))
          else this.#do(() => this.#received(message))
        },
        closed: (code, reason, reconnects, cause) =>
          this.#do(() => this.#closed(code, reason, reconnects, cause)),
        changed: () => this.#do(),
      },
    )
  }

  // --- calls of the application ---------------------------------------------------------------------------

  readonly connect = (): void => this.#do(() => this.#connection.connect())

  readonly close = (): void => this.#do(() => this.#connection.close())

  readonly join = (roomId: string): Promise<RoomState> => {
    const { wanted, state } = this.#entry
    const same = sameRoom(wanted, roomId)
    if (!same) this.#joining.reject(WANTED, LEFT)
    const outcome = this.#joining.open(WANTED)
    this.#do(() => {
      if (same && state.status !== "refused") return
      const isIn = this.#isIn
      if (wanted !== null && !same) this.#forgetRoom()
      this.#entry.want(roomId)
      this.#ask()
      // The old room is left at once, before the new connection is open.
      if (isIn && this.#connection.moving) this.#connection.send({ type: "LeaveRoom" })
    })
    return outcome
  }

  readonly leave = (): void =>
    this.#do(() => {
      if (this.#isIn) this.send({ type: "LeaveRoom" })
      this.#connection.stay()
      this.#held = []
      this.#forgetRoom()
      this.#entry.unwant()
      this.#joining.reject(WANTED, LEFT)
    })

  readonly forgetIdentity = (): void => {
    const { status } = this.#connection.state
    const { wanted } = this.#entry
    this.leave()
    this.close()
    this.#identity.forget()
    this.#me.ids.clear()
    if (wanted !== null) void this.join(wanted)
    if (status !== "idle" && status !== "closed") this.connect()
  }

  readonly rename = (username: string): void =>
    this.#do(() => {
      this.#identity.newName = username
      this.#own.name.put(username)
    })

  readonly sendChat = (content: string, about: ChatReferences = {}): SentChat => {
    if (isBlank(content)) throw new TypeError("blank")
    if (this.#entry.wanted === null) throw new StudyroomError("not_in_room", "no room")
    const message: ChatMessage = {
      id: newId(),
      userId: this.#me.userId,
      username: this.#room.self?.username ?? "",
      content,
      timestamp: null,
      seq: null,
      own: true,
      state: "sending",
      ...about,
    }
    const outcome = this.#sent.open(message.id)
    this.#do(() => {
      this.#room.queue.add(message)
      this.#own.typing.set(false, this.#now())
    })
    return Object.assign(outcome, message)
  }

  readonly retryChat = (id: string): Promise<ChatMessage> => {
    const again = this.#room.queue.retry(id, newId(), this.#now())
    if (again === null) return rejected("not_failed", "not_failed")
    const outcome = this.#sent.open(again)
    this.#do()
    return outcome
  }

  readonly discardChat = (id: string): void => this.#do(() => this.#room.queue.discard(id))

  readonly moveCursor = (x: number, y: number, elementId: string | null = null): void =>
    this.#do(() => this.#entry.wanted !== null && this.#own.cursor.put({ x, y, element_id: elementId }))

  readonly setTyping = (isTyping: boolean): void =>
    this.#do(() => this.#entry.inside && this.#own.typing.set(isTyping, this.#now()))

  readonly broadcast = (event: string, data: unknown = null, { key }: { key?: string } = {}): boolean => {
    checkEvent(event, key)
    return this.#entry.inside && this.send({ type: "Broadcast", payload: { event, data, key: key ?? null } })
  }

  readonly updatePresence = (change: PresenceChange): void => {
    checkFields(change)
    this.#do(() => this.#entry.wanted !== null && this.#room.presence.update(change))
  }

  readonly send = (message: ClientMessage): boolean => {
    const tooLong = this.#limits && excess(message, this.#limits)
    if (tooLong) {
      this.#log.fault({ code: "invalid_message", message: tooLong })
      return false
    }
    this.#log.debug("send", { type: message.type })
    return this.#connection.moving ? this.#held.push(message) > 0 : this.#connection.send(message)
  }

  readonly loadEarlier = (count = DEFAULT_LIMITS.historyLength): Promise<readonly ChatMessage[]> => {
    const { wanted } = this.#entry
    const { history } = this.#room
    return quiet(
      this.#askArchive((archive) =>
        archive.loadEarlier(wanted, history, count, (change) => this.#do(change)),
      ),
    )
  }

  readonly getRoster = (roomId = this.#entry.wanted): Promise<readonly Member[]> =>
    quiet(
      this.#askArchive(async (archive) => (await archive.roster(roomId)).map((user) => updated(null, user))),
    )

  readonly on = <T extends ClientEvent["type"]>(
    type: T,
    listener: (event: ClientEventOf<T>) => void,
  ): (() => void) =>
    this.#listeners.add((event) => event.type === type && listener(event as ClientEventOf<T>))

  // --- events of the connection ---------------------------------------------------------------------------

  #opened(welcome: WelcomePayload, moved: boolean, joined: boolean): void {
    this.#me.userId = welcome.user_id
    this.#me.ids.add(welcome.user_id)
    this.#welcome = welcome
    this.#identity.welcomed(welcome.guest_token)
    this.#limits = statedLimits(welcome)
    this.#values.limits.set(this.#limits)
    this.#room.queue.limit(checkedBy(this.#limits))
    // The address of this connection may be older than the name.
    this.#own.name.again()
    if (joined) return
    if (moved) this.#entry.lost()
    else this.#emit({ type: "open" })
    this.#ask()
  }

  #closed(code: number, reason: string, reconnects: boolean, cause: Cause): void {
    // A hint belongs to the room that the connection was in.
    if (this.#entry.inside) this.#hint = hintedRoom(code, reason) ?? this.#hint
    this.#entry.lost()
    this.#room.lost()
    this.#own.typing.clear()
    this.#held = []
    this.#emit({ type: "close", code, reason, reconnects, cause })
  }

  #received(message: ServerMessage): void {
    this.#emit({ type: "message", message })
    this.#log.debug("receive", { type: message.type })
    if (message.type === "JoinedRoom") this.#joined(message.payload)
    else if (message.type === "Error") this.#refused(message.payload)
    else if (this.#entry.inside) {
      this.#room.happened(message, performance.now())
      if (message.type === "ChatReset") this.#ask()
      if (message.type === "Moving") this.#hint = message.payload.room ?? this.#hint
    }
  }

  #joined(joined: JoinedRoomPayload): void {
    if (!this.#entry.joined(joined.room_id, joined.epoch)) return
    this.#hint = joined.room_hint ?? null
    this.#room.joined(joined, performance.now(), (this.#limits ?? DEFAULT_LIMITS).historyLength)
    this.#own.joined()
  }

  #refused(error: ErrorPayload): void {
    this.#emit({ type: "error", error })
    if (error.code === "presence_too_large") this.#room.presence.refused(this.#room.self?.presence ?? {})
    if (this.#entry.isAboutChat(error)) return this.#room.refused(error, this.#now())
    this.#entry.refused(error, this.#now())
    if (this.#entry.state.status === "refused") this.#connection.stay()
  }

  // --- the room -------------------------------------------------------------------------------------------

  #newRoom(): Room {
    const room = new Room(this.#options.historyLimit, this.#me, {
      emit: (event) => this.#emit(event),
      cursor: (userId, cursor) => this.#values.cursors.put(userId, cursor),
      stored: (message) => this.#sent.resolve(message.id, message),
    })
    if (this.#limits !== null) room.queue.limit(checkedBy(this.#limits))
    return room
  }

  #forgetRoom(): void {
    this.#room.giveUp(LEFT)
    this.#room = this.#newRoom()
    this.#values.cursors.clear()
    this.#own.left()
    this.#hint = null
  }

  /** Whether the open connection is in a room or about to be. */
  get #isIn(): boolean {
    return (this.#entry.inside || this.#entry.pending) && !this.#connection.moving
  }

  /** Join the wanted room, or join it again. If it needs another connection, open that one first. */
  #ask(): void {
    const roomId = this.#entry.ask()
    if (roomId === null) return
    // The room in the address may decide which gateway a connection leads to.
    if (this.#connection.moveTo(this.#welcome.room_hints ? roomId.toLowerCase() : null)) return
    if (this.send(this.#joinRoom(roomId))) this.#entry.asked()
    for (const message of this.#held.splice(0)) this.send(message)
  }

  #joinRoom(roomId: string): ClientMessage {
    return { type: "JoinRoom", payload: { room_id: roomId, ...this.#room.history.resume } }
  }

  /** Rejects with StudyroomError. */
  async #askArchive<T>(question: (archive: Archive) => Promise<T>): Promise<T> {
    if (this.#archive === null) {
      // Some browsers never try again to load a file that could not be loaded once.
      if (this.#connection.state.status === "waiting")
        throw new StudyroomError("connection_lost", "connection lost")
      const { Archive } = await import("./archive.js").catch((error: unknown) => {
        throw new StudyroomError("not_loaded", String(error))
      })
      const socketAddress = () => address(this.#options.url, {})
      this.#archive ??= new Archive(socketAddress, this.#identity, this.#me.ids, StudyroomError)
    }
    return question(this.#archive)
  }

  // --- after every call and event -------------------------------------------------------------------------

  /** Do `work` and everything that is due. Then update the stores, and set the alarm for the next time. */
  #do(work?: () => unknown): void {
    this.#changes.run(() => {
      work?.()
      const now = this.#now()
      if (now >= this.#entry.wakeAt) this.#ask()
      const { state, inside, pending, wakeAt } = this.#entry
      const failure = hopeless(state, this.#connection.state)
      const retryWindowMs = (this.#welcome.chat_retry_seconds ?? 0) * 1000
      // Two gateways would write presence in any order.
      const presence = !pending && !this.#connection.overlaps && this.#room.presence
      const due = [
        wakeAt,
        this.#own.poll(now, inside, presence, this.send),
        this.#room.poll(now, inside && !pending, retryWindowMs, failure, this.send),
      ]
      this.#alarm.set(Math.min(...due))
      if (failure) this.#joining.reject(WANTED, failure)
      else if (inside) this.#joining.resolve(WANTED, state)
      this.#values.show(this.#connection.state, state, this.#room)
    })
  }

  #emit(event: ClientEvent): void {
    if (event.type === "chatFailed" && event.message.error)
      this.#sent.reject(event.message.id, event.message.error)
    this.#changes.after(() => this.#listeners.tell(event))
  }
}
