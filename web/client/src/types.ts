/** The options, values and events of the client. Times are in milliseconds unless their name says otherwise. */

import type { ClientMessage, ErrorCode, ErrorPayload, ReactionSummary, ServerMessage } from "./protocol.js"

export type Token = string | null | undefined

export interface ClientOptions {
  /** `wss://host/ws` or `https://host/ws`. In a page, a path such as `/ws` is enough. */
  url: string | URL
  /** The name of a guest. For users with a token, the token has the name. */
  username?: string
  /**
   * The access token, or a function that returns one. The client calls it before every connection and HTTP request.
   * Without a token the user is a guest. But after a token the client never connects as a guest: when the function then
   * returns none, the attempt fails with `no_token`.
   */
  token?: Token | (() => Token | Promise<Token>)
  /**
   * With true, the tokens of users and guests are in the addresses of WebSockets and requests, which servers and proxies
   * log. By default, a WebSocket has its token as a subprotocol, and a request in the header `Authorization`. For
   * proxies that remove either of them.
   */
  tokenInAddress?: boolean
  /**
   * Where the client keeps the token by which the server recognises a guest. `tab`: in `sessionStorage`, so a reload is
   * the same guest, and another tab another one. `browser`: in `localStorage`, so all tabs are one guest, also
   * tomorrow. `memory`: nowhere. Or a store of your own. Default `tab` in pages, and `memory` elsewhere.
   */
  identity?: "tab" | "browser" | "memory" | IdentityStore
  /** The WebSocket class, where there is no global one, as in Node before 22. */
  WebSocket?: WebSocketConstructor
  /** The least time between two cursor positions. The last position is always sent. Default 50. */
  cursorIntervalMs?: number
  /**
   * The number of chat messages kept in memory, or a function that returns it. The client calls it with every message,
   * so you can keep all of them while somebody reads. Default 1000.
   */
  historyLimit?: number | (() => number)
  /** The wait before attempt n is random, between 0 and min(capMs, baseMs * 2^n). Default 500 and 20,000. */
  reconnect?: { baseMs?: number; capMs?: number }
  /**
   * The client sends a Ping after `intervalMs` of silence, and closes the connection if nothing comes for another
   * `timeoutMs`. Default 15,000 and 8,000.
   */
  heartbeat?: { intervalMs?: number; timeoutMs?: number }
  /** Called with what happens, as `console.debug`. No event has a token or the content of a message. */
  debug?: (event: string, details: object) => void
}

export interface IdentityStore {
  get(): string | null
  set(token: string | null): void
}

/** The part of a WebSocket that the client uses. Those of browsers, Node, Deno, Bun and `ws` have it. */
export interface WebSocketLike {
  readonly readyState: number
  /** The client sets the listeners and never reads them. */
  onmessage: unknown
  onclose: unknown
  onerror: unknown
  send(text: string): void
  close(code?: number, reason?: string): void
}

/** `protocols`: the subprotocols to offer. The client gives its token as one of them. */
export type WebSocketConstructor = new (url: string, protocols?: string[]) => WebSocketLike

/** A value that changes. `get` returns the same object until it changes. */
export interface Readable<T> {
  get(): T
  /** Returns a function that ends the subscription. */
  subscribe(listener: () => void): () => void
}

export type ConnectionState =
  | { status: "idle" }
  | { status: "connecting"; attempt: number }
  | { status: "open"; userId: string; connectionId: string }
  /** `retryAt` is a time of `Date.now()`, and `code` is that of the close. */
  | { status: "waiting"; attempt: number; retryAt: number; code: number; cause: Cause }
  /** Closed for good: by `close()`, or for a cause that another attempt would meet again. */
  | { status: "closed"; code: number; reason: string; cause: Cause }

/** Why there is no connection. */
export interface Cause {
  /**
   * `close_called`: by `close()`. `page_left`: the page is hidden or about to go. `connection_lost`: it was lost, or
   * could not be opened. `no_answer`: the server did not answer a Ping, or did not send `Welcome`. `server_closed`: with
   * the `code` of the state. `token_failed`: your function `token` threw. `no_token`: it returned none for a user who was
   * signed in. `invalid_url`, `no_websocket`: the options are wrong. Every other code is that of the server, which
   * refused the handshake.
   */
  code:
    | "close_called"
    | "page_left"
    | "connection_lost"
    | "no_answer"
    | "server_closed"
    | "token_failed"
    | "no_token"
    | "invalid_url"
    | "no_websocket"
    | ErrorCode
  /** For developers. */
  message: string
}

/** The limits of the server. Those of a server that names none are 65,536, 4,000 and 50. */
export interface Limits {
  /** The largest message of the protocol, in bytes of UTF-8. */
  messageBytes: number
  /** The longest chat message, in Unicode code points: `[...text].length`. */
  chatChars: number
  /** How many of the newest messages a newcomer gets at most. */
  historyLength: number
}

export type RoomState =
  | { status: "none" }
  /** The room is wanted, but the user is not in it now. */
  | { status: "joining"; roomId: string }
  | { status: "joined"; roomId: string; epoch: string }
  /** The client does not try again by itself. `join` does. */
  | { status: "refused"; roomId: string; code: ErrorCode; message: string }

export interface Member {
  userId: string
  username: string
  avatarUrl: string | null
  /** The fields that the member shows to the others. The same object until one of them changes. */
  presence: Presence
}

/** The custom presence of a member: fields that you choose, with JSON values. */
export type Presence = Readonly<Record<string, unknown>>
/** The fields that change. Null deletes a field, and all others stay. */
export type PresenceChange = Readonly<Record<string, unknown>>

export interface Cursor {
  x: number
  y: number
  elementId: string | null
  /** The time of arrival, on the clock of `performance.now()`. */
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
  /** Whether the user of this client wrote it. */
  own: boolean
  state: "sending" | "sent" | "failed"
  /** The id of the message that this one replies to, if any. */
  reply_to?: string | null
  /** The users that it mentions, if any. */
  mentions?: string[] | null
  /** When it was edited last, in Unix seconds, as of the time at which it came. `livingChat` has later edits. */
  edited_at?: number | null
  /** The reactions as of that time. `livingChat` has later ones. */
  reactions?: ReactionSummary[] | null
  /** Present if it failed. */
  error?: ChatFailure
}

/** References of a message, in the spelling of the protocol. */
export type ChatReferences = Pick<ChatMessage, "reply_to" | "mentions">

export interface ChatFailure {
  /**
   * `expired`: it may be stored or not, and the server no longer knows its id. `closed`: the connection was closed for
   * good (after 1000, messages wait instead). `left`: the user left its room. The other codes are the server's. The
   * client itself refuses a message over the server's limits, with `chat_too_long`.
   */
  code: ErrorCode | "expired" | "closed" | "left"
  message: string
}

/**
 * The `code` of a StudyroomError. `not_failed`: there is no failed message with this id. `not_loaded`: a part of the
 * client that is loaded when it is needed could not be loaded. The next call tries again.
 */
export type FailureCode = ChatFailure["code"] | Cause["code"] | "not_failed" | "not_loaded"

/** A message that was just written, and the promise of the stored one. */
export type SentChat = ChatMessage & Promise<ChatMessage>

export type ClientEvent =
  /**
   * The client is connected. The event is absent when a connection replaces an open one: after a change of rooms, or when
   * a gateway stops.
   */
  | { type: "open" }
  | { type: "close"; code: number; reason: string; reconnects: boolean; cause: Cause }
  /** Every message of the server, unchanged. */
  | { type: "message"; message: ServerMessage }
  /** `recovered` is null if the client asked for no missed messages, as at the first join. */
  | { type: "joined"; roomId: string; recovered: boolean | null }
  | { type: "userJoined"; member: Member }
  | { type: "userLeft"; member: Member }
  /** `live` is false for earlier messages, which follow a join. */
  | { type: "chat"; message: ChatMessage; live: boolean }
  | { type: "chatFailed"; message: ChatMessage }
  /** Another member has sent an event. Nothing stores events, so those sent while the client was away are gone. */
  | { type: "broadcast"; userId: string; event: string; data: unknown; key: string | null }
  /** Messages may be missing before those that are shown now. */
  | { type: "historyReset" }
  | { type: "error"; error: ErrorPayload }

export type ClientEventOf<T extends ClientEvent["type"]> = Extract<ClientEvent, { type: T }>

/** The public interface of the client. */
export interface Client {
  /** Does nothing if the client is connected or trying to connect. */
  connect(): void
  /** Others see at once that the user has left. The room stays wanted: `connect` joins it again. */
  close(): void
  /**
   * Join this room, and join it again after every reconnect, until `leave`. The client leaves any other room. Resolves
   * when the user is in the room. Rejects with StudyroomError when the server refuses it, when the connection is closed
   * for good (`closed`), and when the user leaves before (`left`). You may ignore the promise.
   */
  join(roomId: string): Promise<RoomState>
  leave(): void
  /**
   * Show a guest under another name from now on, here and after every reconnect. Others see no leave and no join. The
   * name becomes what it would be as `username`; `self` has it when the server does. For a user with a token, the event
   * `error` comes with `rename_not_allowed`: the token has the name.
   */
  rename(username: string): void
  /**
   * Returns the message as it is shown until it is stored. It is also a promise: it resolves with the stored message,
   * and rejects with StudyroomError when the message has failed. You may ignore the promise. Throws TypeError if the
   * content is blank, and StudyroomError (`not_in_room`) if no room is wanted. `references`: the message that it replies
   * to, and up to 20 users that it mentions, by their ids. They need a server with `living_chat` in `Welcome`.
   */
  sendChat(content: string, references?: ChatReferences): SentChat
  /**
   * Send a failed message again. It keeps its id while the server knows that id, and gets another one later. The
   * promise is as that of `sendChat`; it rejects with `not_failed` if there is no such message.
   */
  retryChat(id: string): Promise<ChatMessage>
  /** Forget a failed message. */
  discardChat(id: string): void
  moveCursor(x: number, y: number, elementId?: string | null): void
  /** Call it with true at every key. It becomes false 6 s after the last call. */
  setTyping(isTyping: boolean): void
  /**
   * Send an event to the other members of the room. `data` is any JSON, and undefined becomes null. A newer event with
   * the same name and key replaces one that still waits somewhere. Returns false, and sends nothing, if the client is
   * not in a room, or if the data is over the server's limits for a message. Throws TypeError for a name that is not of
   * ASCII letters, digits and `_.:-` with a letter first, or is over 64 characters, and for a key of none or over 128.
   */
  broadcast(event: string, data?: unknown, options?: { key?: string }): boolean
  /**
   * Change fields of the user's presence in the room. It is shown at once in `presence`, and sent again after every
   * reconnect if the server does not have it. Does nothing if no room is wanted. Throws TypeError for a field whose name
   * has no or over 64 characters.
   */
  updatePresence(change: PresenceChange): void
  /**
   * Send any message of the protocol. While a connection replaces another, the message waits for the outcome. Returns
   * false, and sends nothing, if there is no connection, or if the message is over the server's limits.
   */
  send(message: ClientMessage): boolean
  /**
   * Load a page of earlier messages into `messages`, and return those that are new there. The server leaves out deleted
   * ones, so a page may be empty although `hasMore` is true. A second call while one is under way gets the same page. Rejects with StudyroomError, with `not_loaded` if a part of the client could not be loaded.
   */
  loadEarlier(count?: number): Promise<readonly ChatMessage[]>
  /**
   * The members of a room as the server knows them, also of a room that the user is not in. Without an id, of the wanted
   * room. Rejects with StudyroomError.
   */
  getRoster(roomId?: string): Promise<readonly Member[]>
  /** Forget who the user is, as for the next person at this computer. A connected guest comes back as another one. */
  forgetIdentity(): void

  readonly connection: Readable<ConnectionState>
  readonly room: Readable<RoomState>
  /** The other members, in the order of arrival. They stay while the connection is lost. */
  readonly others: Readable<readonly Member[]>
  readonly self: Readable<Member | null>
  /** The user's own fields, with changes that are not stored yet. */
  readonly presence: Readable<Presence>
  /** The cursors of others, by user id. */
  readonly cursors: Readable<ReadonlyMap<string, Cursor>>
  /** The others that are typing. */
  readonly typing: Readable<readonly Member[]>
  /** Stored messages in their order, then the user's own messages that are not stored yet. */
  readonly messages: Readable<readonly ChatMessage[]>
  /**
   * Whether there seem to be messages before the first of `messages`, which `loadEarlier` gets. The client knows for sure
   * after the first page. Before, it goes by how many messages the server sent with the room.
   */
  readonly hasMore: Readable<boolean>
  readonly limits: Readable<Limits>

  /** Returns a function that ends the subscription. */
  on<T extends ClientEvent["type"]>(type: T, listener: (event: ClientEventOf<T>) => void): () => void
}
