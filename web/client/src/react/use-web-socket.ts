"use client"

import { useEffect, useSyncExternalStore } from "react"
import { StudyroomClient } from "../client.js"
import { isBlank } from "../core/blank.js"
import type { ClientMessage, Pong, ServerMessage } from "../protocol.js"
import { hold } from "./holds.js"
import { useKept } from "./use-kept.js"

/**
 * A message of the server. You can read `payload` before you check `type`. `Pong` has none, so it is undefined there.
 */
export type LastMessage = Exclude<ServerMessage, Pong> | (Pong & { payload?: undefined })

/** A message whose payload has the type `any`, as in the hook of the original protocol. */
export interface AnyMessage {
  type: string
  // biome-ignore lint/suspicious/noExplicitAny: code that was written for the original hook reads it without looking at the type
  payload: any
}

export interface UseWebSocket<Message = AnyMessage> {
  isConnected: boolean
  lastMessage: Message | null
  send: (type: string, payload?: unknown) => void
  joinRoom: (roomId: string) => void
  sendChat: (content: string) => void
}

/**
 * One connection as a hook: whether it is open, the last message, and functions that send.
 *
 * A lost connection comes back by itself and joins its room again. The server then sends the missed messages and no
 * others. Without a connection, `send` drops its message, but `joinRoom` takes effect later, and so does `sendChat` if
 * you have joined a room.
 *
 * Payloads have the type `any`. With `useWebSocket<LastMessage>(url)`, a check of `type` narrows the type of `payload`.
 */
export function useWebSocket<Message extends { type: string } = AnyMessage>(
  url: string,
): UseWebSocket<Message> {
  const session = useKept(url, () => new Session(url))
  useEffect(() => {
    session.client.connect()
    return hold(session, "connection", session.client.close)
  }, [session])
  // Unlike state, a store is read after every message, so an effect on `lastMessage` misses none of them.
  const lastMessage = useSyncExternalStore(session.subscribe, session.lastMessage, nothing)
  const isConnected = useSyncExternalStore(session.client.connection.subscribe, session.isConnected, no)
  const { send, joinRoom, sendChat } = session
  return { isConnected, lastMessage: lastMessage as unknown as Message | null, send, joinRoom, sendChat }
}

class Session {
  readonly client: StudyroomClient
  #lastMessage: LastMessage | null = null
  /** The message that is being shown, and those that come after it. */
  readonly #waiting: LastMessage[] = []
  /** The number of awaited Pongs for the application's own Pings. Other Pongs answer Pings of the client. */
  #pongs = 0
  /** The message that the last error is about. */
  #refused: string | null | undefined

  constructor(url: string) {
    this.client = new StudyroomClient({ url })
  }

  readonly lastMessage = (): LastMessage | null => this.#lastMessage
  readonly isConnected = (): boolean => this.client.connection.get().status === "open"

  readonly subscribe = (listener: () => void): (() => void) => {
    const ends = [
      this.client.on("message", ({ message }) => {
        if (message.type === "Pong" && --this.#pongs < 0) this.#pongs = 0
        else this.#take(message, listener)
      }),
      // The answers to Pings of a lost connection do not come.
      this.client.on("close", () => {
        this.#pongs = 0
      }),
      // A refusal by the client itself looks like one of the server.
      this.client.on("chatFailed", ({ message: { id, error } }) => {
        if (error?.code === "chat_too_long" && this.#refused !== id)
          this.#take({ type: "Error", payload: { code: error.code, message: error.message, id } }, listener)
      }),
    ]
    return () => {
      for (const end of ends) end()
    }
  }

  #take(message: LastMessage, listener: () => void): void {
    if (message.type === "Error") this.#refused = message.payload.id
    this.#waiting.push(message)
    if (this.#waiting.length === 1) this.#show(listener)
  }

  /** Renders each message before the next one. Outside of browsers, several may arrive at once. */
  #show(listener: () => void): void {
    this.#lastMessage = this.#waiting[0] ?? null
    listener()
    queueMicrotask(() => {
      this.#waiting.shift()
      if (this.#waiting.length > 0) this.#show(listener)
    })
  }

  readonly send = (type: string, payload?: unknown): void => {
    const { room_id: roomId } = (payload ?? {}) as { room_id?: unknown }
    // These two set the room that the client joins again after a reconnect.
    if (type === "JoinRoom" && typeof roomId === "string") this.joinRoom(roomId)
    else if (type === "LeaveRoom") this.client.leave()
    else if (this.client.send({ type, payload } as ClientMessage) && type === "Ping") this.#pongs += 1
  }

  readonly joinRoom = (roomId: string): void => {
    void this.client.join(roomId)
  }

  readonly sendChat = (content: string): void => {
    const { status } = this.client.room.get()
    // Otherwise the server reports the error.
    if (!isBlank(content) && status !== "none") this.client.sendChat(content)
    else this.send("Chat", { content })
  }
}

const nothing = () => null
const no = () => false
