/**
 * One connection, which is opened again when it is lost, and replaced when the server asks for it (`Moving`). Of the
 * protocol it knows `Welcome`, `Ping`, `Pong`, `Moving`, close codes, the room in the address, and in what order the
 * messages of two connections count.
 */

import { Alarm } from "./alarm.js"
import { type Address, type Attempt, end, opened } from "./attempt.js"
import { backoff } from "./core/backoff.js"
import { causeOf, isFatal, plain } from "./core/cause.js"
import { ABNORMAL, GOING_AWAY, hintedWait, NORMAL, reconnects } from "./core/close-codes.js"
import { Liveness } from "./core/liveness.js"
import { NEVER } from "./core/never.js"
import type { StudyroomError } from "./error.js"
import type { Log } from "./log.js"
import type { Moves } from "./moves.js"
import type { ClientMessage, ServerMessage, WelcomePayload } from "./protocol.js"
import type { Failures } from "./refusal.js"
import type { Cause, ClientOptions, ConnectionState } from "./types.js"
import { watchPage } from "./wake.js"

/** The time limit from asking for a token to `Welcome`. */
const WELCOME_MS = 15_000
/** A connection that lasted this long was good. The waits before the next attempts are short again. */
const GOOD_MS = 5000
const OPEN = 1

export interface ConnectionOptions extends Pick<ClientOptions, "WebSocket" | "reconnect" | "heartbeat"> {
  /**
   * Called before every attempt. Returns the address, and the room that it is for. The attempt fails if it rejects, with
   * StudyroomError.
   */
  address: () => Promise<Address & { room: string | null }>
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

export class Connection {
  #state: ConnectionState = { status: "idle" }
  readonly #options: ConnectionOptions
  readonly #events: ConnectionEvents
  readonly #alarm: Alarm
  /** The present connection, or the attempt to open one. */
  attempt: Attempt | null = null
  /** Present once it was needed. */
  #moves: Moves | null = null
  /** The room for which a connection will be opened as soon as `Moves` is loaded. */
  #pending: string | null = null
  /** The deadline of the newest attempt. If it is open or there is none, the time of the next one. */
  #dueAt = NEVER
  /** The number of attempts in a row that were not good. */
  #failures = 0
  #hinted = false
  /** Those since the last accepted handshake. An answer counts only if they are the same as at its question. */
  #refusals: Failures = { unauthorized: 0 }
  /** The server accepted the last handshake, so the next failure needs no explanation. */
  #excused = false
  /** Ends the watch of page events. Null while no connection is wanted. */
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
    this.#refusals = { unauthorized: 0 }
    this.#excused = false
    this.#try()
  }

  close(): void {
    if (this.#unwatch !== null) this.#lose(NORMAL, plain("close_called"))
  }

  /** Returns false if there is no connection. */
  send(message: ClientMessage): boolean {
    const { socket, liveness } = this.attempt ?? {}
    if (!liveness || socket?.readyState !== OPEN) return false
    socket.send(JSON.stringify(message))
    return true
  }

  /** Whether a connection for another room is being opened. */
  get moving(): boolean {
    return this.#target !== null
  }

  /** Whether the client is in the room on two connections, or about to be. */
  get overlaps(): boolean {
    return !!this.#moves?.overlaps
  }

  /**
   * Replace the open connection, unless it is for this room already or `room` is null. It serves until the new one has
   * `Welcome`, and stays if the new one fails. Returns whether a new one is being opened.
   */
  moveTo(room: string | null): boolean {
    if (room !== null && room === this.#target) return true
    this.stay()
    const { room: here, liveness } = this.attempt ?? {}
    if (!liveness || room === null || here === room) return false
    this.#pending = room
    this.#withMoves((moves) => {
      if (this.#pending !== room) return
      this.#pending = null
      if (moves) moves.moveTo(room)
      else this.keepFor(room)
    })
    return true
  }

  /** Keep the open connection, and drop its replacement. */
  stay(): void {
    this.#pending = null
    if (this.attempt) this.#moves?.stay()
  }

  /** The room for which another connection is being opened. */
  get #target(): string | null {
    return this.#pending ?? this.#moves?.target ?? null
  }

  /** Do something with `Moves`, or with null if it cannot be loaded. */
  #withMoves(work: (moves: Moves | null) => unknown): unknown {
    if (this.#moves) return work(this.#moves)
    import("./moves.js")
      .then(({ Moves }) => {
        this.#moves ??= new Moves(this, this.#events)
      }, this.#notLoaded)
      .then(() => work(this.#moves))
  }

  // --- for Moves ------------------------------------------------------------------------------------------

  retire(attempt: Attempt): void {
    end(attempt, NORMAL)
  }

  /** Wait before the next try to follow the server, if it wants that. */
  postpone(): void {
    const { attempt } = this
    this.#dueAt = NEVER
    if (attempt?.tries !== undefined)
      this.#dueAt = this.#options.now() + backoff(attempt.tries++, this.#options.reconnect)
    this.#arm()
  }

  /** No connection could be opened for this room, so the present one serves it. */
  keepFor(room: string | null): void {
    if (this.attempt !== null) this.attempt.room = room
    this.#events.stayed()
  }

  /** A file of the client could not be loaded. The client goes on without it, and tries again the next time. */
  readonly #notLoaded = (error: unknown): void => this.#options.log.debug("not loaded", { error })

  #show(state: ConnectionState): void {
    this.#state = state
    this.#options.log.debug(state.status, state)
  }

  #try(): void {
    this.attempt = { room: null }
    this.#show({ status: "connecting", attempt: this.#failures })
    this.begin(this.attempt, WELCOME_MS)
    this.#events.changed()
  }

  begin(attempt: Attempt, withinMs: number): void {
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
    const { room, ...address } = await this.#options.address()
    if (attempt !== this.attempt && attempt !== this.#moves?.next) return
    attempt.room = room
    attempt.address = address
    const socket = opened(this.#options.WebSocket, address)
    attempt.socket = socket
    socket.onmessage = ({ data }: { data: unknown }) => this.received(attempt, data)
    socket.onclose = ({ code, reason }: { code: number; reason: string }) =>
      this.#failed(attempt, code, reason, causeOf(code, reason))
    // A close event follows.
    socket.onerror = () => {}
  }

  received(attempt: Attempt, data: unknown): void {
    const message = JSON.parse(String(data)) as ServerMessage
    const now = this.#options.now()
    attempt.liveness?.heard(now)
    if (this.#moves?.isPassed(attempt, message, data)) return
    if (message.type === "Welcome") this.#welcomed(attempt, message.payload, now)
    // Other messages do not set the alarm again. When it rings, `liveness` knows the time of the last message.
    else if (message.type === "Pong") this.#check()
    else if (message.type === "Moving") {
      attempt.tries = 0
      if (!this.#moves?.next) this.#dueAt = now + (Math.random() * message.payload.within_ms) / 2
      this.#arm()
    }
    this.#events.message(message)
  }

  #failed(attempt: Attempt, code: number, reason: string, cause: Cause): void {
    if (attempt === this.attempt) {
      const { address, socket, liveness } = attempt
      // After the loss of a good connection all clients come at once, so the first failure asks nothing.
      const asks = socket && !liveness && code === ABNORMAL && !this.#excused
      if (!liveness) this.#excused = false
      this.#ended(code, reason, cause)
      if (asks) this.#ask(address as Address).catch(this.#notLoaded)
    } else this.#moves?.failed(attempt)
  }

  /** Learn why a handshake has failed, which a browser does not say. Meanwhile the next attempt is not delayed. */
  async #ask(address: Address): Promise<void> {
    const refusals = this.#refusals
    const { askRefusal, isFinal } = await import("./refusal.js")
    const cause = await askRefusal(address)
    if (cause === null || refusals !== this.#refusals || this.#unwatch === null) return
    if (isFinal(cause, refusals, this.#options.renewsToken)) this.#lose(ABNORMAL, cause, true)
    else if (this.#state.status === "waiting") {
      this.#show({ ...this.#state, cause })
      this.#events.changed()
    }
  }

  #welcomed(attempt: Attempt, welcome: WelcomePayload, now: number): void {
    const moved = !!this.#moves?.welcomed(attempt)
    this.#dueAt = NEVER
    attempt.liveness = new Liveness(now, this.#options.heartbeat)
    attempt.openedAt = now
    this.#refusals = { unauthorized: 0 }
    this.#excused = true
    this.#check()
    this.#show({ status: "open", userId: welcome.user_id, connectionId: welcome.connection_id })
    this.#events.opened(welcome, moved, !!attempt.joining)
  }

  /** Do everything that is due, and set the alarm for the next time. */
  #check(): void {
    const now = this.#options.now()
    const { liveness } = this.attempt ?? {}
    if (liveness) {
      const verdict = liveness.poll(now)
      if (verdict === "dead") return this.#lose(ABNORMAL, plain("no_answer"))
      if (verdict === "ask") this.send({ type: "Ping" })
      if (now >= this.#dueAt) {
        this.#dueAt = NEVER
        const { attempt } = this
        this.#withMoves((moves) => attempt === this.attempt && moves?.due())
      }
    } else if (now >= this.#dueAt) {
      return this.attempt ? this.#lose(ABNORMAL, plain("no_answer")) : this.#try()
    }
    this.#arm()
  }

  #arm(): void {
    this.#alarm.set(Math.min(this.attempt?.liveness?.wakeAt ?? NEVER, this.#dueAt))
  }

  #doubt(): void {
    const now = this.#options.now()
    this.attempt?.liveness?.doubt(now)
    // A wait that the server has asked for is not cut short.
    if (this.attempt === null && !this.#hinted) this.#dueAt = now
    this.#check()
  }

  /** Close the connection, because browsers keep no page with an open socket in the back-forward cache. */
  #hide(): void {
    if (this.attempt !== null) this.#lose(GOING_AWAY, plain("page_left"))
    this.#hinted = false
    this.#dueAt = NEVER
    this.#check()
  }

  /** End the connection without waiting for the closing handshake, which a dead peer would not answer. */
  #lose(code: number, cause: Cause, final = false): void {
    if (this.attempt !== null) end(this.attempt, code)
    this.#ended(code, cause.message, cause, final)
  }

  #ended(code: number, reason: string, cause: Cause, final = isFatal(cause)): void {
    const { openedAt = NEVER } = this.attempt ?? {}
    const now = this.#options.now()
    const again = reconnects(code) && !final
    this.stay()
    this.#moves?.ended()
    this.attempt = null
    if (now - openedAt >= GOOD_MS) this.#failures = 0
    if (again) this.#wait(code, reason, cause, now)
    else this.#stop(code, reason, cause)
    this.#arm()
    this.#events.closed(code, reason, again, cause)
  }

  #wait(code: number, reason: string, cause: Cause, now: number): void {
    const hint = hintedWait(code, reason)
    const waitMs = hint ?? backoff(this.#failures, this.#options.reconnect)
    this.#hinted = hint !== null
    this.#dueAt = now + waitMs
    this.#failures += 1
    this.#show({ status: "waiting", attempt: this.#failures, retryAt: Date.now() + waitMs, code, cause })
  }

  #stop(code: number, reason: string, cause: Cause): void {
    this.#unwatch?.()
    this.#unwatch = null
    this.#dueAt = NEVER
    this.#show({ status: "closed", code, reason, cause })
  }
}
