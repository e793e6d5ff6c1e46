/** What the client takes and what it shows. Times are in milliseconds unless their name says otherwise. */

import type { ClientMessage, ErrorCode, ErrorPayload, ServerMessage } from "./protocol.js"

export type Token = string | null | undefined

export interface ClientOptions {
  /** `wss://host/ws`, also `https://host/ws`; in a page a path is enough: `/ws`. */
  url: string | URL
  /** The name of a guest. Who has a token has a name in it. */
  username?: string
  /** The access token, or what gets one: asked before every connection, also when the last one has expired. */
  token?: Token | (() => Token | Promise<Token>)
  /** Where the token is kept by which a guest is known again; without it, in memory: until the page is gone. */
  identity?: IdentityStore
  /** Where there is no global one, as in Node before 22. */
  WebSocket?: WebSocketConstructor
  /** Own cursor positions are sent this often at the most; the last one always is. Default 50. */
  cursorIntervalMs?: number
  /** Chat messages kept in memory, default 1000. */
  historyLimit?: number
  /** The wait before attempt n is random, between 0 and min(capMs, baseMs * 2^n). Default 500 and 20,000. */
  reconnect?: { baseMs?: number; capMs?: number }
  /** After `intervalMs` of silence a Ping is sent, and `timeoutMs` later the connection is given up. Default 15,000 and 8,000. */
  heartbeat?: { intervalMs?: number; timeoutMs?: number }
}

export interface IdentityStore {
  get(): string | null
  set(token: string | null): void
}

/** As much of a WebSocket as the client uses; those of browsers, Node, Deno, Bun and of `ws` have it. */
export interface WebSocketLike {
  readonly readyState: number
  /** Listeners are set; what is there is not read. */
  onmessage: unknown
  onclose: unknown
  onerror: unknown
  send(text: string): void
  close(code?: number, reason?: string): void
}

export type WebSocketConstructor = new (url: string) => WebSocketLike

/** A value that changes. `get` returns the same object for as long as nothing changed. */
export interface Readable<T> {
  get(): T
  /** Returns what ends the subscription. */
  subscribe(listener: () => void): () => void
}

export type ConnectionState =
  | { status: "idle" }
  | { status: "connecting"; attempt: number }
  | { status: "open"; userId: string; connectionId: string }
  /** `retryAt` is a time as of `Date.now()`; `code` that of the close. */
  | { status: "waiting"; attempt: number; retryAt: number; code: number }
  /** Closed for good: by `close()`, or with a code that says to stay away. */
  | { status: "closed"; code: number; reason: string }

export type RoomState =
  | { status: "none" }
  /** Wanted, and not joined yet or not any more. */
  | { status: "joining"; roomId: string }
  | { status: "joined"; roomId: string; epoch: string }
  /** Not tried again by itself; `join` tries again. */
  | { status: "refused"; roomId: string; code: ErrorCode; message: string }

export interface Member {
  userId: string
  username: string
  avatarUrl: string | null
}

export interface Cursor {
  x: number
  y: number
  elementId: string | null
  /** When it was received, as of `performance.now()`. */
  at: number
}

export interface ChatMessage {
  id: string
  userId: string
  username: string
  content: string
  /** Unix seconds; null until it is stored. */
  timestamp: number | null
  /** Its position in the room; null until it is stored. */
  seq: number | null
  /** Written by the user of this client. */
  own: boolean
  state: "sending" | "sent" | "failed"
  /** Why it failed. */
  error?: ChatFailure
}

export interface ChatFailure {
  /** `expired`: it may have been stored, or not, and the server would not know it any more. `closed`: the connection was
   * closed for good (after 1000 they wait instead). `left`: its room was left. The others are the server's. */
  code: ErrorCode | "expired" | "closed" | "left"
  message: string
}

export type ClientEvent =
  /** Not when another connection replaces one that is open, as a change of rooms may do. */
  | { type: "open" }
  | { type: "close"; code: number; reason: string; reconnects: boolean }
  /** Every message of the server, as it came. */
  | { type: "message"; message: ServerMessage }
  /** `recovered` is null when nothing was asked to be recovered, as at the first time. */
  | { type: "joined"; roomId: string; recovered: boolean | null }
  | { type: "userJoined"; member: Member }
  | { type: "userLeft"; member: Member }
  /** `live` is false for messages of the past that follow a join. */
  | { type: "chat"; message: ChatMessage; live: boolean }
  | { type: "chatFailed"; message: ChatMessage }
  /** Messages may be missing before those that are shown now. */
  | { type: "historyReset" }
  | { type: "error"; error: ErrorPayload }

export type ClientEventOf<T extends ClientEvent["type"]> = Extract<ClientEvent, { type: T }>

/** The client as its users see it. */
export interface Client {
  /** Does nothing when the client is connected, or on its way to be. */
  connect(): void
  /** Others see at once that the user is gone. The room stays wanted: `connect` joins it again. */
  close(): void
  /** Be in this room, and in it again after every reconnect, until `leave`. Leaves the one before. */
  join(roomId: string): void
  leave(): void
  /** The message as it is shown until it is stored. Throws TypeError when it is blank, and Error when no room is wanted. */
  sendChat(content: string): ChatMessage
  /** Send a failed message again: under its own id for as long as the server knows it, then under another one. */
  retryChat(id: string): void
  /** Forget a failed message. */
  discardChat(id: string): void
  moveCursor(x: number, y: number, elementId?: string | null): void
  /** To be called with true as often as a key is pressed; 6 s after the last time it is false by itself. */
  setTyping(isTyping: boolean): void
  /** Any message of the protocol, at once or not at all: false when there is no connection. */
  send(message: ClientMessage): boolean

  readonly connection: Readable<ConnectionState>
  readonly room: Readable<RoomState>
  /** Without oneself, in the order of arrival. Kept while the connection is away. */
  readonly others: Readable<readonly Member[]>
  readonly self: Readable<Member | null>
  /** Of others, by user id. */
  readonly cursors: Readable<ReadonlyMap<string, Cursor>>
  /** Others that are typing. */
  readonly typing: Readable<readonly Member[]>
  /** In the order in which they are stored, then one's own that are not. */
  readonly messages: Readable<readonly ChatMessage[]>

  /** Returns what ends the subscription. */
  on<T extends ClientEvent["type"]>(type: T, listener: (event: ClientEventOf<T>) => void): () => void
}
