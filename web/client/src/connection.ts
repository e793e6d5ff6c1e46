/**
 * One connection that is made again when it is lost. Knows of the protocol only `Welcome`, `Ping`, close codes and the
 * room in the address.
 */

import { Alarm } from "./alarm.js"
import { backoff } from "./core/backoff.js"
import { ABNORMAL, GOING_AWAY, hintedWait, NORMAL, reconnects } from "./core/close-codes.js"
import { Liveness } from "./core/liveness.js"
import { NEVER } from "./core/never.js"
import type { ClientMessage, ServerMessage, WelcomePayload } from "./protocol.js"
import type { ClientOptions, ConnectionState, WebSocketConstructor, WebSocketLike } from "./types.js"
import { watchPage } from "./wake.js"

/** From asking for a token to Welcome. */
const WELCOME_MS = 15_000
/** The same, for a connection that replaces one that works. */
const MOVE_MS = 5000
/** A connection that lasted so long was a good one: the next attempts are early again. */
const GOOD_MS = 5000
const OPEN = 1

export interface ConnectionOptions extends Pick<ClientOptions, "WebSocket" | "reconnect" | "heartbeat"> {
  /** Asked before every attempt; an attempt whose address cannot be had has failed. */
  address: () => Promise<URL>
  now: () => number
}

/** Called when `state` is already the new one. */
export interface ConnectionEvents {
  connecting(): void
  /** `moved`: it replaces another one, and there was no time without a connection. */
  opened(welcome: WelcomePayload, moved: boolean): void
  /** The connection that was to replace the open one has failed. */
  stayed(): void
  message(message: ServerMessage): void
  closed(code: number, reason: string, reconnects: boolean): void
}

/** From asking for its address to its end. */
interface Attempt {
  /** The room that its address names; or another one that it serves, since no better connection could be had. */
  room: string | null
  socket?: WebSocketLike
  /** Since Welcome. */
  liveness?: Liveness
  openedAt?: number
}

export class Connection {
  #state: ConnectionState = { status: "idle" }
  readonly #options: ConnectionOptions
  readonly #events: ConnectionEvents
  readonly #alarm: Alarm
  #attempt: Attempt | null = null
  /** To replace the open one, as soon as it is welcome. */
  #next: Attempt | null = null
  /** When the newest attempt has to be welcome; without one, when there is to be the next. */
  #dueAt = NEVER
  /** Attempts in a row that were not good. */
  #failures = 0
  #hinted = false
  /** Null while no connection is wanted. */
  #unwatch: (() => void) | null = null

  constructor(options: ConnectionOptions, events: ConnectionEvents) {
    this.#options = options
    this.#events = events
    this.#alarm = new Alarm(options.now, () => this.#check())
  }

  get state(): ConnectionState {
    return this.#state
  }

  connect(): void {
    if (this.#unwatch !== null) return
    this.#unwatch = watchPage({ doubt: () => this.#doubt(), hide: () => this.#hide() })
    this.#failures = 0
    this.#try()
  }

  close(): void {
    if (this.#unwatch !== null) this.#lose(NORMAL, "")
  }

  /** False when there is no connection. */
  send(message: ClientMessage): boolean {
    const { socket, liveness } = this.#attempt ?? {}
    if (!liveness || socket?.readyState !== OPEN) return false
    socket.send(JSON.stringify(message))
    return true
  }

  get moving(): boolean {
    return this.#next !== null
  }

  /**
   * Replace the open connection, if it is for another room. It serves until the new one is welcome, and goes on when that
   * one fails. Returns whether a new one is under way.
   */
  moveTo(room: string): boolean {
    const { room: here, liveness } = this.#attempt ?? {}
    if (this.#next?.room === room) return true
    this.stay()
    if (!liveness || here === room) return false
    this.#next = { room }
    this.#begin(this.#next, MOVE_MS)
    return true
  }

  /** Go on with the open connection. */
  stay(): void {
    if (this.#next !== null) end(this.#next, NORMAL)
    this.#next = null
  }

  #try(): void {
    this.#attempt = { room: null }
    this.#state = { status: "connecting", attempt: this.#failures }
    this.#begin(this.#attempt, WELCOME_MS)
    this.#events.connecting()
  }

  #begin(attempt: Attempt, withinMs: number): void {
    this.#dueAt = this.#options.now() + withinMs
    this.#check()
    this.#open(attempt).catch((error: unknown) => this.#failed(attempt, ABNORMAL, String(error)))
  }

  /** Rejects when there is no address, or no such WebSocket. */
  async #open(attempt: Attempt): Promise<void> {
    const { href, searchParams } = await this.#options.address()
    if (attempt !== this.#attempt && attempt !== this.#next) return
    attempt.room = searchParams.get("room")
    const Socket = this.#options.WebSocket ?? (globalThis.WebSocket as WebSocketConstructor | undefined)
    if (!Socket) throw new TypeError("no WebSocket here: give one in the options")
    const socket = new Socket(href)
    attempt.socket = socket
    socket.onmessage = ({ data }: { data: unknown }) => this.#received(attempt, data)
    socket.onclose = ({ code, reason }: { code: number; reason: string }) =>
      this.#failed(attempt, code, reason)
    // A close follows.
    socket.onerror = () => {}
  }

  #received(attempt: Attempt, data: unknown): void {
    const message = JSON.parse(String(data)) as ServerMessage
    const now = this.#options.now()
    attempt.liveness?.heard(now)
    if (message.type === "Welcome") this.#welcomed(attempt, message.payload, now)
    // The alarm is not set anew for each message: when it rings it sees what was heard.
    else if (message.type === "Pong") this.#check()
    this.#events.message(message)
  }

  #failed(attempt: Attempt, code: number, reason: string): void {
    if (attempt === this.#attempt) this.#ended(code, reason)
    else if (attempt === this.#next) this.#stayed(attempt)
  }

  #stayed({ room }: Attempt): void {
    this.stay()
    if (this.#attempt !== null) this.#attempt.room = room
    this.#events.stayed()
  }

  #welcomed(attempt: Attempt, welcome: WelcomePayload, now: number): void {
    const moved = attempt === this.#next
    if (moved && this.#attempt !== null) {
      end(this.#attempt, NORMAL)
      this.#attempt = attempt
      this.#next = null
    }
    attempt.liveness = new Liveness(now, this.#options.heartbeat)
    attempt.openedAt = now
    this.#check()
    this.#state = { status: "open", userId: welcome.user_id, connectionId: welcome.connection_id }
    this.#events.opened(welcome, moved)
  }

  /** Do what is due. */
  #check(): void {
    const now = this.#options.now()
    const { liveness } = this.#attempt ?? {}
    if (liveness) {
      const verdict = liveness.poll(now)
      if (verdict === "dead") return this.#lose(ABNORMAL, "nothing was heard")
      if (verdict === "ask") this.send({ type: "Ping" })
      if (this.#next !== null && now >= this.#dueAt) this.#stayed(this.#next)
    } else if (now >= this.#dueAt) {
      return this.#attempt ? this.#lose(ABNORMAL, "not welcomed in time") : this.#try()
    }
    const { wakeAt = NEVER } = liveness ?? {}
    this.#alarm.set(liveness && this.#next === null ? wakeAt : Math.min(wakeAt, this.#dueAt))
  }

  #doubt(): void {
    const now = this.#options.now()
    this.#attempt?.liveness?.doubt(now)
    // Who was asked to wait waits.
    if (this.#attempt === null && !this.#hinted) this.#dueAt = now
    this.#check()
  }

  /** A page with an open socket could not be kept in the back-forward cache. */
  #hide(): void {
    if (this.#attempt !== null) this.#lose(GOING_AWAY, "the page was left")
    this.#hinted = false
    this.#dueAt = NEVER
    this.#check()
  }

  /** A dead peer would not answer the closing handshake, so its end is not waited for. */
  #lose(code: number, reason: string): void {
    if (this.#attempt !== null) end(this.#attempt, code)
    this.#ended(code, reason)
  }

  #ended(code: number, reason: string): void {
    const { openedAt = NEVER } = this.#attempt ?? {}
    const now = this.#options.now()
    const again = reconnects(code)
    this.stay()
    this.#attempt = null
    if (now - openedAt >= GOOD_MS) this.#failures = 0
    if (again) this.#wait(code, reason, now)
    else this.#stop(code, reason)
    this.#alarm.set(this.#dueAt)
    this.#events.closed(code, reason, again)
  }

  #wait(code: number, reason: string, now: number): void {
    const hint = hintedWait(code, reason)
    const waitMs = hint ?? backoff(this.#failures, this.#options.reconnect)
    this.#hinted = hint !== null
    this.#dueAt = now + waitMs
    this.#failures += 1
    this.#state = { status: "waiting", attempt: this.#failures, retryAt: Date.now() + waitMs, code }
  }

  #stop(code: number, reason: string): void {
    this.#unwatch?.()
    this.#unwatch = null
    this.#dueAt = NEVER
    this.#state = { status: "closed", code, reason }
  }
}

function end({ socket }: Attempt, code: number): void {
  if (!socket) return
  socket.onmessage = socket.onclose = null
  if (code === NORMAL) socket.close(code)
  else socket.close()
}
