/**
 * Replaces an open connection by another one: after a change of rooms, or when the server asks for it (`Moving`). Knows
 * in what order the messages of two connections count. Many sessions need none of this, so the client loads this file
 * when it needs it. It imports nothing, so that a page needs no third file for what both share.
 */

import type { Attempt } from "./attempt.js"
import type { Connection, ConnectionEvents } from "./connection.js"
import type { ServerMessage } from "./protocol.js"

/** The time limit from asking for a token to `Welcome`. */
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

export class Moves {
  /** The attempt that replaces the open connection as soon as the server sends `Welcome`. */
  next: Attempt | null = null
  readonly #connection: Connection
  readonly #events: ConnectionEvents
  /** The connection that was replaced a moment ago. */
  #old: Attempt | null = null
  /** During a move, also while the new connection opens: how often each event came on the old one, less on the new one. */
  #counts: Map<unknown, number> | null = null

  constructor(connection: Connection, events: ConnectionEvents) {
    this.#connection = connection
    this.#events = events
  }

  /** Whether the client is in the room on two connections, or about to be. */
  get overlaps(): boolean {
    return this.#old !== null || this.next?.joining !== undefined
  }

  /** The room for which another connection is being opened; null if it is for none, or follows the server. */
  get target(): string | null {
    return this.next === null || this.next.follows ? null : this.next.room
  }

  /** Open a connection for this room. */
  moveTo(room: string): void {
    this.#counts = null
    this.#begin({ room })
  }

  /** The time has come to follow the server, or to give up the connection that was opened for that. */
  due(): void {
    if (this.next !== null) return this.#stayed(this.next)
    this.#part()
    this.#counts = new Map()
    this.#begin({ room: null, follows: true })
  }

  /** Keep the open connection, and drop its replacement. */
  stay(): void {
    const { next } = this
    if (next === null) return
    this.#connection.retire(next)
    this.next = null
    this.#connection.postpone()
    if (next.follows) this.#counts = null
    for (const message of next.joining?.held ?? []) this.#events.message(message)
  }

  /** The open connection has ended. */
  ended(): void {
    this.#part()
    this.#counts = null
  }

  /** This attempt has failed, and may be that of the replacement. */
  failed(attempt: Attempt): void {
    if (attempt === this.next) this.#stayed(attempt)
  }

  /** Handle a message of one of two connections. Returns whether that is all. */
  isPassed(attempt: Attempt, message: ServerMessage, data: unknown): boolean {
    const { type } = message
    const { next } = this
    const joining = next?.joining
    if (attempt === next && attempt.follows) {
      const join = type === "Welcome" && this.#events.rejoin()
      if (join) {
        attempt.joining = { welcome: data, held: [] }
        attempt.socket?.send(JSON.stringify(join))
      } else if (type === "Error") this.#stayed(attempt)
      else if (type === "JoinedRoom" && joining) {
        attempt.follows = false
        this.#connection.received(attempt, joining.welcome)
      }
      return type !== "JoinedRoom" && join !== null
    }
    if (type === "Broadcast" && this.#counts !== null) {
      const sign = attempt === this.#old || next !== null ? 1 : -1
      const count = this.#counts.get(data) ?? 0
      if (this.#old || next || count > 0) this.#counts.set(data, count + sign)
      return count * sign < 0
    }
    if (joining && IN_ROSTER.test(type)) return joining.held.push(message) > 0
    return attempt === this.#old
  }

  /** The server has welcomed this attempt. Returns whether it replaces another connection. */
  welcomed(attempt: Attempt): boolean {
    const old = this.#connection.attempt
    if (attempt !== this.next || old === null) return false
    if (attempt.joining) {
      this.#old = old
      const counts = this.#counts
      setTimeout(() => {
        if (this.#counts === counts) this.#counts = null
      }, LATE_MS)
      setTimeout(() => {
        if (this.#old === old) this.#part()
        this.#events.changed()
      }, LINGER_MS)
    } else this.#connection.retire(old)
    this.#connection.attempt = attempt
    this.next = null
    return true
  }

  #begin(attempt: Attempt): void {
    this.next = attempt
    this.#connection.begin(attempt, MOVE_MS)
  }

  #stayed({ room, follows }: Attempt): void {
    this.stay()
    if (follows) return
    this.#connection.keepFor(room)
  }

  /** End the connection that was replaced. */
  #part(): void {
    if (this.#old !== null) this.#connection.retire(this.#old)
    this.#old = null
  }
}
