/** One WebSocket with channels, or with a single client if the server knows no channels. */

import { GOING_AWAY, NORMAL } from "../core/close-codes.js"
import type { ClientMessage, ServerMessage } from "../protocol.js"
import type { WebSocketConstructor, WebSocketLike } from "../types.js"
import type { Carrier, ChannelSocket } from "./channel-socket.js"

/** The server writes compact JSON, so messages about channels begin like this, and so do those that end a connection. */
const ABOUT_CHANNELS = /^{"type":"(Channel|Moving)/
const SERVICE_RESTART = 1012
const CHANNEL_REFUSED = 4004

interface Surroundings {
  /** Puts a socket on another line. */
  place(socket: ChannelSocket): void
  ended(): void
}

export class Line implements Carrier {
  readonly key: string
  readonly #socket: WebSocketLike
  readonly #surroundings: Surroundings
  readonly #channels = new Map<number, ChannelSocket>()
  /** How many channels the server allows; 0 if it knows none, and null before it says so. */
  #most: number | null = null
  /** The server wants the line to end, so it takes no more channels. */
  #leaving = false
  #number = 0
  #writesIn = 0
  #readsIn = 0

  /** Throws what the constructor of the WebSocket throws. */
  constructor(key: string, Socket: WebSocketConstructor, first: ChannelSocket, surroundings: Surroundings) {
    this.key = key
    this.#surroundings = surroundings
    const url = new URL(first.href)
    url.searchParams.set("channels", "true")
    this.#socket = new Socket(url.href, first.protocols)
    this.add(first)
    this.#socket.onmessage = ({ data }: { data: string }) => this.#received(data)
    this.#socket.onclose = ({ code, reason }: { code: number; reason: string }) => {
      this.#end()
      for (const channel of [...this.#channels.values()]) channel.end(code, reason)
    }
    // A close event follows.
    this.#socket.onerror = () => {}
  }

  /** Returns false if the line has no room for another channel. */
  add(socket: ChannelSocket): boolean {
    if (this.#leaving || this.#channels.size >= (this.#most ?? Infinity)) return false
    this.#number += 1
    this.#channels.set(this.#number, socket)
    socket.carrier = this
    if (this.#most !== null) this.#open(this.#number, socket)
    return true
  }

  send(socket: ChannelSocket, text: string): void {
    const number = this.#numberOf(socket)
    if (number !== this.#writesIn) {
      this.#writesIn = number
      this.#tell({ type: "Channel", payload: { channel: number } })
    }
    this.#socket.send(text)
  }

  left(socket: ChannelSocket, code: number): void {
    const number = this.#numberOf(socket)
    this.#channels.delete(number)
    if (this.#channels.size === 0) {
      this.#end()
      this.#socket.close(code)
    } else if (this.#most) {
      const close_code = code === GOING_AWAY ? GOING_AWAY : NORMAL
      this.#tell({ type: "CloseChannel", payload: { channel: number, close_code } })
    }
  }

  #open(channel: number, { href }: ChannelSocket): void {
    const room = new URL(href).searchParams.get("room")
    this.#tell({ type: "OpenChannel", payload: { channel, room } })
  }

  #received(data: string): void {
    if (this.#most === null) return this.#welcomed(data)
    if (this.#most === 0) return this.#channels.get(0)?.receive(data)
    const message = ABOUT_CHANNELS.test(data) ? (JSON.parse(data) as ServerMessage) : null
    if (message?.type === "Channel") this.#readsIn = message.payload.channel
    else if (message?.type === "ChannelClosed") {
      const { channel, close_code, reason } = message.payload
      if (close_code === CHANNEL_REFUSED || close_code === SERVICE_RESTART) this.#leaving = true
      const socket = this.#channels.get(channel)
      this.#channels.delete(channel)
      socket?.end(close_code, reason)
      if (this.#channels.size === 0) this.#socket.close(NORMAL)
    } else {
      if (message !== null) this.#leaving = true
      this.#channels.get(this.#readsIn)?.receive(data)
      if (message !== null && this.#readsIn === 0)
        for (const channel of [...this.#channels.values()]) channel.receive(data)
    }
  }

  /** The first message says how many channels there may be. */
  #welcomed(data: string): void {
    const { payload } = JSON.parse(data)
    this.#most = Number(payload.channels ?? 0)
    const waiting = [...this.#channels]
    const most = this.#most || 1
    for (const [number, socket] of waiting.slice(most)) {
      this.#channels.delete(number)
      this.#surroundings.place(socket)
    }
    if (this.#most > 0) for (const [number, socket] of waiting.slice(0, most)) this.#open(number, socket)
    else this.#serve(waiting[0]?.[1], data)
  }

  /** The server knows no channels, so all messages are those of one client. */
  #serve(socket: ChannelSocket | undefined, welcome: string): void {
    if (socket === undefined) return
    this.#leaving = true
    this.#channels.clear()
    this.#channels.set(0, socket)
    socket.receive(welcome)
  }

  #numberOf(socket: ChannelSocket): number {
    for (const [number, one] of this.#channels) if (one === socket) return number
    return 0
  }

  #tell(message: ClientMessage): void {
    this.#socket.send(JSON.stringify(message))
  }

  #end(): void {
    this.#leaving = true
    this.#surroundings.ended()
  }
}
