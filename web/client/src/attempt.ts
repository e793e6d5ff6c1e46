/** One attempt to connect, from asking for its address to its end. */

import { NORMAL } from "./core/close-codes.js"
import type { Liveness } from "./core/liveness.js"
import { StudyroomError } from "./error.js"
import type { ServerMessage } from "./protocol.js"
import type { WebSocketConstructor, WebSocketLike } from "./types.js"

export interface Address {
  href: string
  /** The subprotocols to offer, with the token if it is not in the address. */
  protocols?: string[] | undefined
}

export interface Attempt {
  /** The room that its address is for, or another room that it serves because no better connection could be opened. */
  room: string | null
  address?: Address
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

/**
 * Opens a WebSocket. Throws StudyroomError if there is none here (`no_websocket`), and for an address that no WebSocket
 * can have, or that this page may not use (`invalid_url`).
 */
export function opened(
  Socket: WebSocketConstructor | undefined,
  { href, protocols }: Address,
): WebSocketLike {
  const Chosen = Socket ?? (globalThis.WebSocket as WebSocketConstructor | undefined)
  if (!Chosen) throw new StudyroomError("no_websocket", "no_websocket")
  try {
    return new Chosen(href, protocols)
  } catch (error) {
    throw new StudyroomError("invalid_url", String(error))
  }
}

export function end({ socket }: Attempt, code: number): void {
  if (!socket) return
  socket.onmessage = socket.onclose = null
  if (code === NORMAL) socket.close(code)
  else socket.close()
}
