/**
 * One connection, which is opened again when it is lost, and replaced when the server asks for it (`Moving`). Of the
 * protocol it knows `Welcome`, `Ping`, `Pong`, `Moving`, close codes, the room in the address, and in what order the
 * messages of two connections count.
 */

import { Alarm } from "./alarm.js"
import { backoff } from "./core/backoff.js"
import { causeOf, isFatal } from "./core/cause.js"
import { ABNORMAL, GOING_AWAY, hintedWait, NORMAL, reconnects } from "./core/close-codes.js"
import { Liveness } from "./core/liveness.js"
import { NEVER } from "./core/never.js"
import { Refusals } from "./core/refusals.js"
import { StudyroomError } from "./error.js"
import type { Log } from "./log.js"
import type { ClientMessage, ServerMessage, WelcomePayload } from "./protocol.js"
import { askRefusal } from "./refusal.js"
import type { Cause, ClientOptions, ConnectionState, WebSocketConstructor, WebSocketLike } from "./types.js"
import { watchPage } from "./wake.js"

/** The time limit from asking for a token to `Welcome`. */
const WELCOME_MS = 15_000
/** The same limit for a connection that replaces a working one. */
const MOVE_MS = 5000
/**
 * After the client has moved, the old connection stays open for so long. Events that the new one has just missed may
 * still come there, and its gateway finishes the changes of presence that it has.
 */
const LINGER_MS = 500
/** Events that came on the old connection may come on the new one so much later, if its gateway is busy. */
const LATE_MS = 5000
/** The roster of the new connection has these changes, or they come there. */
const IN_ROSTER = /^(User|Pres)/
/** A connection that lasted this long was good. The waits before the next attempts are short again. */
const GOOD_MS = 5000
const OPEN = 1

const NO_ANSWER: Cause = { code: "no_answer", message: "the server did not answer a Ping in time" }
const NO_WELCOME: Cause = { code: "no_answer", message: "the server did not answer in time" }
const PAGE_LEFT: Cause = { code: "page_left", message: "the page was left" }

export interface ConnectionOptions extends Pick<ClientOptions, "WebSocket" | "reconnect" | "heartbeat"> {
  /**
   * Called before every attempt. Returns the address, and the room that it is for. The attempt fails if it rejects, with
   * StudyroomError.
   */
  address: () => Promise<{ href: string; room: string | null }>
  /** Whether another attempt may have another access token. */
  renewsToken: boolean
  now: () => number
  log: Log
}

/** Callbacks. When they are called, `state` is already the new one. */
export interface ConnectionEvents {
  /**
   * `moved`: it replaces another connection, and the client was never without one. `joined`: it is in the room already,
   * and `JoinedRoom` follows.
   */
  opened(welcome: WelcomePayload, moved: boolean, joined: boolean): void
  /** Returns the message that joins the room on another connection too, or null if the client is in none. */
  rejoin(): ClientMessage | null
  /** The connection for another room has failed. */
  stayed(): void
  message(message: ServerMessage): void
  closed(code: number, reason: string, reconnects: boolean, cause: Cause): void
  /** An attempt begins, the state has another cause, or there is one connection again. */
  changed(): void
}

/** One attempt to connect, from asking for its address to its end. */
interface Attempt {
  /** The room that its address is for, or another room that it serves because no better connection could be opened. */
  room: string | null
  href?: string
  socket?: WebSocketLike
  /** Present after `Welcome`. */
  liveness?: Liveness
  openedAt?: number
  /** Present after `Moving`: how many attempts to move have failed. */
  tries?: number
  /** Whether it replaces a connection after `Moving`, which serves until this one is in the room. */
  follows?: boolean
  /** Present after its `JoinRoom`: its `Welcome`, and changes of members that the other connection has sent since. */
  joining?: { welcome: unknown; held: ServerMessage[] }
}

export class Connection {
  #state: ConnectionState = { status: "idle" }
  readonly #options: ConnectionOptions
  readonly #events: ConnectionEvents
  readonly #alarm: Alarm
  #attempt: Attempt | null = null
  /** The attempt that replaces the open connection as soon as the server sends `Welcome`. */
  #next: Attempt | null = null
  /** The connection that was replaced a moment ago. */
  #old: Attempt | null = null
  /** During a move, also while the new connection opens: how often each event came on the old one, less on the new one. */
  #counts: Map<unknown, number> | null = null
  /** The deadline of the newest attempt. If it is open or there is none, the time of the next one. */
  #dueAt = NEVER
  /** The number of attempts in a row that were not good. */
  #failures = 0
  #hinted = false
  readonly #refusals: Refusals
  /** Ends the watch of page events. Null while no connection is wanted. */
  #unwatch: (() => void) | null = null

  constructor(options: ConnectionOptions, events: ConnectionEvents) {
    this.#options = options
    this.#events = events
    this.#alarm = new Alarm(options.now, () => this.#check())
    this.#refusals = new Refusals(options.renewsToken)
  }

  get state(): ConnectionState {
    return this.#state
  }

  connect(): void {
    if (this.#unwatch !== null) return
    this.#unwatch = watchPage({ doubt: () => this.#doubt(), hide: () => this.#hide() })
    this.#failures = 0
    this.#refusals.forget()
    this.#try()
  }

  close(): void {
    if (this.#unwatch !== null) this.#lose(NORMAL, { code: "close_called", message: "close() was called" })
  }

  /** Returns false if there is no connection. */
  send(message: ClientMessage): boolean {
    const { socket, liveness } = this.#attempt ?? {}
    if (!liveness || socket?.readyState !== OPEN) return false
    socket.send(JSON.stringify(message))
    return true
  }

  /** Whether a connection for another room is being opened. */
  get moving(): boolean {
    return this.#next !== null && !this.#next.follows
  }

  /** Whether the client is in the room on two connections, or about to be. */
  get overlaps(): boolean {
    return this.#old !== null || this.#next?.joining !== undefined
  }

  /**
   * Replace the open connection, unless it is for this room already or `room` is null. It serves until the new one has
   * `Welcome`, and stays if the new one fails. Returns whether a new one is being opened.
   */
  moveTo(room: string | null): boolean {
    const { room: here, liveness } = this.#attempt ?? {}
    if (this.moving && this.#next?.room === room) return true
    this.stay()
    if (!liveness || room === null || here === room) return false
    this.#counts = null
    this.#next = { room }
    this.#begin(this.#next, MOVE_MS)
    return true
  }

  /** Keep the open connection, and drop its replacement. */
  stay(): void {
    const [next, attempt] = [this.#next, this.#attempt]
    if (next === null || attempt === null) return
    end(next, NORMAL)
    this.#next = null
    this.#dueAt = NEVER
    if (attempt.tries !== undefined)
      this.#dueAt = this.#options.now() + backoff(attempt.tries++, this.#options.reconnect)
    this.#arm()
    if (next.follows) this.#counts = null
    for (const message of next.joining?.held ?? []) this.#events.message(message)
  }

  #try(): void {
    this.#attempt = { room: null }
    this.#state = { status: "connecting", attempt: this.#failures }
    this.#options.log.debug("connecting", { attempt: this.#failures })
    this.#begin(this.#attempt, WELCOME_MS)
    this.#events.changed()
  }

  #begin(attempt: Attempt, withinMs: number): void {
    this.#dueAt = this.#options.now() + withinMs
    this.#check()
    this.#open(attempt).catch((error: unknown) => {
      const { code, message } = error as StudyroomError
      const cause = { code, message } as Cause
      this.#options.log.fault(cause)
      this.#failed(attempt, ABNORMAL, message, cause)
    })
  }

  /** Rejects with StudyroomError if there is no address or no WebSocket. */
  async #open(attempt: Attempt): Promise<void> {
    const { href, room } = await this.#options.address()
    if (attempt !== this.#attempt && attempt !== this.#next) return
    attempt.room = room
    const Socket = this.#options.WebSocket ?? (globalThis.WebSocket as WebSocketConstructor | undefined)
    if (!Socket)
      throw new StudyroomError("no_websocket", "there is no WebSocket here: give one in the options")
    const socket = opened(Socket, href)
    attempt.socket = socket
    attempt.href = href
    socket.onmessage = ({ data }: { data: unknown }) => this.#received(attempt, data)
    socket.onclose = ({ code, reason }: { code: number; reason: string }) =>
      this.#failed(attempt, code, reason, causeOf(code, reason))
    // A close event follows.
    socket.onerror = () => {}
  }

  #received(attempt: Attempt, data: unknown): void {
    const message = JSON.parse(String(data)) as ServerMessage
    const now = this.#options.now()
    attempt.liveness?.heard(now)
    if (this.#isPassed(attempt, message, data)) return
    if (message.type === "Welcome") this.#welcomed(attempt, message.payload, now)
    // Other messages do not set the alarm again. When it rings, `liveness` knows the time of the last message.
    else if (message.type === "Pong") this.#check()
    else if (message.type === "Moving") {
      attempt.tries = 0
      if (this.#next === null) this.#dueAt = now + (Math.random() * message.payload.within_ms) / 2
      this.#arm()
    }
    this.#events.message(message)
  }

  /** Handle a message of one of two connections. Returns whether that is all. */
  #isPassed(attempt: Attempt, message: ServerMessage, data: unknown): boolean {
    const { type } = message
    const { joining } = this.#next ?? {}
    if (attempt === this.#next && attempt.follows) {
      const join = type === "Welcome" && this.#events.rejoin()
      if (join) {
        attempt.joining = { welcome: data, held: [] }
        attempt.socket?.send(JSON.stringify(join))
      } else if (type === "Error") this.#stayed(attempt)
      else if (type === "JoinedRoom" && joining) {
        attempt.follows = false
        this.#received(attempt, joining.welcome)
      }
      return type !== "JoinedRoom" && join !== null
    }
    if (type === "Broadcast" && this.#counts !== null) {
      const sign = attempt === this.#old || this.#next !== null ? 1 : -1
      const count = this.#counts.get(data) ?? 0
      if (this.#old || this.#next || count > 0) this.#counts.set(data, count + sign)
      return count * sign < 0
    }
    if (joining && IN_ROSTER.test(type)) return joining.held.push(message) > 0
    return attempt === this.#old
  }

  /** End the connection that was replaced. */
  #part(): void {
    if (this.#old !== null) end(this.#old, NORMAL)
    this.#old = null
  }

  #failed(attempt: Attempt, code: number, reason: string, cause: Cause): void {
    if (attempt === this.#attempt) {
      const { href, liveness } = attempt
      // After the loss of a good connection all clients come at once, so the first failure asks nothing.
      const asks = href && !liveness && code === ABNORMAL && this.#refusals.failed()
      this.#ended(code, reason, cause)
      if (asks) void this.#ask(href)
    } else if (attempt === this.#next) this.#stayed(attempt)
  }

  /** Learn why a handshake has failed, which a browser does not say. Meanwhile the next attempt is not delayed. */
  async #ask(href: string): Promise<void> {
    const { series } = this.#refusals
    const cause = await askRefusal(href)
    if (cause === null || series !== this.#refusals.series || this.#unwatch === null) return
    this.#options.log.debug("refused", cause)
    if (this.#refusals.isFinal(cause)) this.#lose(ABNORMAL, cause, true)
    else if (this.#state.status === "waiting") {
      this.#state = { ...this.#state, cause }
      this.#events.changed()
    }
  }

  #stayed({ room, follows }: Attempt): void {
    this.stay()
    if (follows) return
    if (this.#attempt !== null) this.#attempt.room = room
    this.#events.stayed()
  }

  #welcomed(attempt: Attempt, welcome: WelcomePayload, now: number): void {
    const moved = attempt === this.#next
    const joined = attempt.joining !== undefined
    if (moved && this.#attempt !== null) {
      const old = this.#attempt
      if (joined) {
        this.#old = old
        const counts = this.#counts
        setTimeout(() => {
          if (this.#counts === counts) this.#counts = null
        }, LATE_MS)
        setTimeout(() => {
          if (this.#old === old) this.#part()
          this.#events.changed()
        }, LINGER_MS)
      } else end(old, NORMAL)
      this.#attempt = attempt
      this.#next = null
    }
    this.#dueAt = NEVER
    attempt.liveness = new Liveness(now, this.#options.heartbeat)
    attempt.openedAt = now
    this.#refusals.accepted()
    this.#options.log.debug("open", { userId: welcome.user_id, connectionId: welcome.connection_id })
    this.#check()
    this.#state = { status: "open", userId: welcome.user_id, connectionId: welcome.connection_id }
    this.#events.opened(welcome, moved, joined)
  }

  /** Do everything that is due, and set the alarm for the next time. */
  #check(): void {
    const now = this.#options.now()
    const { liveness } = this.#attempt ?? {}
    if (liveness) {
      const verdict = liveness.poll(now)
      if (verdict === "dead") return this.#lose(ABNORMAL, NO_ANSWER)
      if (verdict === "ask") this.send({ type: "Ping" })
      if (now >= this.#dueAt) {
        if (this.#next !== null) this.#stayed(this.#next)
        else {
          this.#part()
          this.#counts = new Map()
          this.#next = { room: null, follows: true }
          this.#begin(this.#next, MOVE_MS)
        }
      }
    } else if (now >= this.#dueAt) {
      return this.#attempt ? this.#lose(ABNORMAL, NO_WELCOME) : this.#try()
    }
    this.#arm()
  }

  #arm(): void {
    this.#alarm.set(Math.min(this.#attempt?.liveness?.wakeAt ?? NEVER, this.#dueAt))
  }

  #doubt(): void {
    const now = this.#options.now()
    this.#attempt?.liveness?.doubt(now)
    // A wait that the server has asked for is not cut short.
    if (this.#attempt === null && !this.#hinted) this.#dueAt = now
    this.#check()
  }

  /** Close the connection, because browsers keep no page with an open socket in the back-forward cache. */
  #hide(): void {
    if (this.#attempt !== null) this.#lose(GOING_AWAY, PAGE_LEFT)
    this.#hinted = false
    this.#dueAt = NEVER
    this.#check()
  }

  /** End the connection without waiting for the closing handshake, which a dead peer would not answer. */
  #lose(code: number, cause: Cause, final = false): void {
    if (this.#attempt !== null) end(this.#attempt, code)
    this.#ended(code, cause.message, cause, final)
  }

  #ended(code: number, reason: string, cause: Cause, final = isFatal(cause)): void {
    const { openedAt = NEVER } = this.#attempt ?? {}
    const now = this.#options.now()
    const again = reconnects(code) && !final
    this.stay()
    this.#part()
    this.#counts = this.#attempt = null
    if (now - openedAt >= GOOD_MS) this.#failures = 0
    if (again) this.#wait(code, reason, cause, now)
    else this.#stop(code, reason, cause)
    this.#options.log.debug("closed", { code, reason, reconnects: again, cause })
    this.#arm()
    this.#events.closed(code, reason, again, cause)
  }

  #wait(code: number, reason: string, cause: Cause, now: number): void {
    const hint = hintedWait(code, reason)
    const waitMs = hint ?? backoff(this.#failures, this.#options.reconnect)
    this.#hinted = hint !== null
    this.#dueAt = now + waitMs
    this.#failures += 1
    this.#state = { status: "waiting", attempt: this.#failures, retryAt: Date.now() + waitMs, code, cause }
  }

  #stop(code: number, reason: string, cause: Cause): void {
    this.#unwatch?.()
    this.#unwatch = null
    this.#dueAt = NEVER
    this.#state = { status: "closed", code, reason, cause }
  }
}

/** Throws StudyroomError for an address that no WebSocket can have, or that this page may not use. */
function opened(Socket: WebSocketConstructor, href: string): WebSocketLike {
  try {
    return new Socket(href)
  } catch (error) {
    throw new StudyroomError("invalid_url", `no WebSocket can be opened: ${error}`, { cause: error })
  }
}

function end({ socket }: Attempt, code: number): void {
  if (!socket) return
  socket.onmessage = socket.onclose = null
  if (code === NORMAL) socket.close(code)
  else socket.close()
}
