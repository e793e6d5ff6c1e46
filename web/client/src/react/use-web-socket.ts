import { useEffect, useSyncExternalStore } from "react"
import { StudyroomClient } from "../client.js"
import { isBlank } from "../core/blank.js"
import type { ClientMessage, Pong, ServerMessage } from "../protocol.js"
import { hold } from "./holds.js"
import { useKept } from "./use-kept.js"

/** A message of the server. `payload` can be read before `type` is looked at: of unit messages it is undefined. */
export type LastMessage = Exclude<ServerMessage, Pong> | (Pong & { payload?: undefined })

/** A message whose payload is not typed, as in the hook of the original protocol. */
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
 * One connection as a hook: whether it is there, the last message, and what to send.
 *
 * It comes back by itself when it is lost, into the room it was in, and then the messages that were missed come and no
 * others. What is sent while there is no connection is dropped, but not the wish to be in a room, nor what `sendChat` was
 * given in one.
 *
 * Payloads have the type `any`. With `useWebSocket<LastMessage>(url)` a look at `type` tells the type of `payload`.
 */
export function useWebSocket<Message extends { type: string } = AnyMessage>(
  url: string,
): UseWebSocket<Message> {
  const session = useKept(url, () => new Session(url))
  useEffect(() => {
    session.client.connect()
    return hold(session, "connection", session.client.close)
  }, [session])
  // Unlike state that is set, a store is read after every message: an effect on `lastMessage` misses none of them.
  const lastMessage = useSyncExternalStore(session.subscribe, session.lastMessage, nothing)
  const isConnected = useSyncExternalStore(session.client.connection.subscribe, session.isConnected, no)
  const { send, joinRoom, sendChat } = session
  return { isConnected, lastMessage: lastMessage as unknown as Message | null, send, joinRoom, sendChat }
}

class Session {
  readonly client: StudyroomClient
  #lastMessage: LastMessage | null = null
  /** Those that were not shown yet, the first of them being shown. */
  readonly #waiting: LastMessage[] = []
  /** Pongs that the application asked for; others answer the client. */
  #pongs = 0

  constructor(url: string) {
    this.client = new StudyroomClient({ url })
  }

  readonly lastMessage = (): LastMessage | null => this.#lastMessage
  readonly isConnected = (): boolean => this.client.connection.get().status === "open"

  readonly subscribe = (listener: () => void): (() => void) =>
    this.client.on("message", ({ message }) => {
      if (message.type === "Pong" && --this.#pongs < 0) {
        this.#pongs = 0
        return
      }
      this.#waiting.push(message)
      if (this.#waiting.length === 1) this.#show(listener)
    })

  /** Where several messages come in one turn, as they do outside of browsers, each is rendered before the next. */
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
    if (type === "Ping") this.#pongs += 1
    // These say which room to come back to.
    if (type === "JoinRoom" && typeof roomId === "string") this.client.join(roomId)
    else if (type === "LeaveRoom") this.client.leave()
    else this.client.send({ type, payload } as ClientMessage)
  }

  readonly joinRoom = (roomId: string): void => this.client.join(roomId)

  readonly sendChat = (content: string): void => {
    const { status } = this.client.room.get()
    // Otherwise the server says what is wrong.
    if (!isBlank(content) && status !== "none") this.client.sendChat(content)
    else this.send("Chat", { content })
  }
}

const nothing = () => null
const no = () => false
