/** One channel, with the interface of a WebSocket. */

import { NORMAL } from "../core/close-codes.js"
import type { WebSocketLike } from "../types.js"

const [CONNECTING, OPEN, CLOSED] = [0, 1, 3]

/** The connection of a channel. */
export interface Carrier {
  send(socket: ChannelSocket, text: string): void
  /** The client has closed the channel. */
  left(socket: ChannelSocket, code: number): void
}

export class ChannelSocket implements WebSocketLike {
  readyState = CONNECTING
  onmessage: unknown = null
  onclose: unknown = null
  onerror: unknown = null
  /** Set by its carrier. */
  carrier: Carrier | null = null
  /** The address and the subprotocols of the WebSocket that it replaces. */
  readonly href: string
  readonly protocols: string[] | undefined

  constructor(href: string, protocols?: string[]) {
    this.href = href
    this.protocols = protocols
  }

  send(text: string): void {
    if (this.readyState === OPEN) this.carrier?.send(this, text)
  }

  close(code = NORMAL, reason = ""): void {
    if (this.readyState === CLOSED) return
    this.readyState = CLOSED
    this.carrier?.left(this, code)
    queueMicrotask(() => (this.onclose as ((event: unknown) => void) | null)?.({ code, reason }))
  }

  // --- for its carrier ------------------------------------------------------------------------------------

  receive(data: unknown): void {
    if (this.readyState === CLOSED) return
    this.readyState = OPEN
    ;(this.onmessage as ((event: unknown) => void) | null)?.({ data })
  }

  end(code: number, reason: string): void {
    if (this.readyState === CLOSED) return
    this.readyState = CLOSED
    ;(this.onclose as ((event: unknown) => void) | null)?.({ code, reason })
  }
}
