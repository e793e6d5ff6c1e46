/** The name, cursor and typing of the user, as this client sends them. Only the newest value of each counts. */

import type { ClientMessage, CursorPosition } from "../protocol.js"
import type { PresenceChange } from "../types.js"
import { NEVER } from "./never.js"
import { OwnTyping } from "./own-typing.js"
import { type Newest, Throttle } from "./throttle.js"

/** The server takes two names in a row, and then one a second. */
const RENAME_MS = 1000

export class OwnValues {
  readonly name = new Throttle<string>(RENAME_MS)
  readonly cursor: Throttle<CursorPosition>
  readonly typing = new OwnTyping()

  constructor(cursorIntervalMs: number | undefined) {
    this.cursor = new Throttle(cursorIntervalMs)
  }

  /** The client has joined a room, which may not know the cursor and that the user types. */
  joined(): void {
    this.cursor.again()
    this.typing.again()
  }

  /** The client has left the room. */
  left(): void {
    this.cursor.put(null)
    this.typing.clear()
  }

  /** Send what is due. Returns the time of the next value. `presence`: false while it has to wait. */
  poll(
    now: number,
    isInside: boolean,
    presence: Newest<PresenceChange> | false,
    send: (message: ClientMessage) => unknown,
  ): number {
    let wakeAt = NEVER
    const each = <T>(values: Newest<T>, message: (value: T) => ClientMessage) => {
      const value = values.take(now)
      if (value !== null) send(message(value))
      wakeAt = Math.min(wakeAt, values.wakeAt)
    }
    each(this.name, (username) => ({ type: "Rename", payload: { username } }))
    if (isInside) {
      each(this.typing, (is_typing) => ({ type: "Typing", payload: { is_typing } }))
      each(this.cursor, (payload) => ({ type: "CursorMove", payload }))
      if (presence) each(presence, (fields) => ({ type: "UpdatePresence", payload: { fields } }))
    }
    return wakeAt
  }
}
