// Made from the contract by `make schema`; not to be edited.

export type StudyroomClientProtocol = ClientMessage | ServerMessage
export type ClientMessage = JoinRoom | LeaveRoom | ChatSend | CursorMove | Typing | Ping | Authenticate
export type ServerMessage =
  | Welcome
  | JoinedRoom
  | UserJoined
  | UserUpdated
  | UserLeft
  | Chat
  | ChatDeleted
  | ChatReset
  | CursorUpdate
  | TypingStatus
  | Pong
  | Authenticated
  | Error
/**
 * Sent as `Error.code` over the WebSocket and as `code` in the JSON body of a refused HTTP request.
 */
export type ErrorCode =
  | "invalid_json"
  | "unknown_type"
  | "invalid_message"
  | "chat_empty"
  | "chat_too_long"
  | "not_in_room"
  | "busy"
  | "rate_limited"
  | "room_full"
  | "room_not_allowed"
  | "banned_from_room"
  | "removed"
  | "presence_unavailable"
  | "chat_unavailable"
  | "chat_storage_full"
  | "internal"
  | "invalid_request"
  | "unauthorized"
  | "keys_unavailable"
  | "banned"
  | "role_not_allowed"
  | "moderation_unavailable"
  | "not_found"
  | "bad_handshake"
  | "upgrade_required"
  | "headers_too_large"
  | "draining"
  | "host_not_allowed"
  | "body_too_large"
  | "origin_not_allowed"
  | "too_many_connections"
  | "too_many_of_address"
  | "too_many_of_user"
  | "too_many_handshakes"

export interface JoinRoom {
  type: "JoinRoom"
  payload: JoinRoomPayload
}
export interface JoinRoomPayload {
  room_id: string
  /**
   * The last position this client has seen of the room's chat: the `seq` of a message, or `last_seq`.
   */
  since?: number | null
  /**
   * The epoch that the position is of.
   */
  epoch?: string | null
}
export interface LeaveRoom {
  type: "LeaveRoom"
}
export interface ChatSend {
  type: "Chat"
  payload: ChatSendPayload
}
export interface ChatSendPayload {
  content: string
  /**
   * Chosen by the client; sending again with the same id stores nothing twice.
   */
  id?: string | null
}
export interface CursorMove {
  type: "CursorMove"
  payload: CursorPosition
}
export interface CursorPosition {
  x: number
  y: number
  element_id?: string | null
}
export interface Typing {
  type: "Typing"
  payload: TypingPayload
}
export interface TypingPayload {
  is_typing: boolean
}
export interface Ping {
  type: "Ping"
}
/**
 * A newer access token of the same user, so that the connection may stay when the old one expires.
 */
export interface Authenticate {
  type: "Authenticate"
  payload: AuthenticatePayload
}
export interface AuthenticatePayload {
  token: string
}
/**
 * The first message of every connection.
 */
export interface Welcome {
  type: "Welcome"
  payload: WelcomePayload
}
export interface WelcomePayload {
  connection_id: string
  user_id: string
  /**
   * Unix milliseconds.
   */
  server_time: number
  /**
   * For so long chat that is sent again with its `id` is recognised; later it would be stored twice.
   */
  chat_retry_seconds?: number | null
  /**
   * A guest that connects again with `?guest_token=` is the same user; nobody else can be.
   */
  guest_token?: string | null
  /**
   * Unix milliseconds until which the access token is good; soon after that the connection is closed (4002).
   */
  expires_at?: number | null
  /**
   * The load balancer sends a client to the gateway of the room in its address (`?room=`). So a client that changes
   * rooms may connect again.
   */
  room_hints?: boolean | null
}
/**
 * The answer to `JoinRoom`; every room event after it is newer than its roster.
 */
export interface JoinedRoom {
  type: "JoinedRoom"
  payload: JoinedRoomPayload
}
export interface JoinedRoomPayload {
  room_id: string
  users: UserPresence[]
  /**
   * Changes when the server's history was lost or replaced: then everything known before is void.
   */
  epoch: string
  /**
   * Whether everything behind `since` follows; only for who asked for it. If not, begin anew: something is gone.
   */
  recovered?: boolean | null
  /**
   * How many `Chat` messages of the past follow at once, before anything new: those missed, or the newest.
   */
  history?: number
  /**
   * The position in the room's chat behind those; null when the history cannot be read now and follows later.
   */
  last_seq?: number | null
}
export interface UserPresence {
  user_id: string
  username: string
  avatar_url?: string | null
  cursor?: CursorPosition | null
}
export interface UserJoined {
  type: "UserJoined"
  payload: UserPayload
}
export interface UserPayload {
  user: UserPresence
}
/**
 * A member who is present changed name or avatar (joined again with another token, say).
 */
export interface UserUpdated {
  type: "UserUpdated"
  payload: UserPayload
}
export interface UserLeft {
  type: "UserLeft"
  payload: UserLeftPayload
}
export interface UserLeftPayload {
  user_id: string
}
/**
 * A stored chat message. Its author gets it too: that is the acknowledgement.
 */
export interface Chat {
  type: "Chat"
  payload: ChatPayload
}
export interface ChatPayload {
  user_id: string
  username: string
  content: string
  /**
   * Unix seconds.
   */
  timestamp: number
  id: string
  /**
   * Position in the room's history; grows within an epoch, not always by one.
   */
  seq: number
}
/**
 * A message was deleted: nobody is to show it any more, and nobody gets it any more.
 */
export interface ChatDeleted {
  type: "ChatDeleted"
  payload: ChatDeletedPayload
}
export interface ChatDeletedPayload {
  /**
   * The id it had. Another author's message may have the same, since authors choose them: `deleted_seq` is sure.
   */
  id: string
  /**
   * The position it had.
   */
  deleted_seq: number
  /**
   * The position of this: it has its place among the messages.
   */
  seq: number
}
/**
 * Chat behind what this client has seen was lost or is too much, or the epoch is another one.
 *
 * Positions from before are void; from `last_seq` on nothing is missing. Join again to see what is stored.
 */
export interface ChatReset {
  type: "ChatReset"
  payload: ChatResetPayload
}
export interface ChatResetPayload {
  room_id: string
  epoch: string
  last_seq: number
}
export interface CursorUpdate {
  type: "CursorUpdate"
  payload: CursorUpdatePayload
}
export interface CursorUpdatePayload {
  user_id: string
  x: number
  y: number
  element_id: string | null
}
export interface TypingStatus {
  type: "TypingStatus"
  payload: TypingStatusPayload
}
export interface TypingStatusPayload {
  user_id: string
  is_typing: boolean
}
export interface Pong {
  type: "Pong"
}
/**
 * The answer to `Authenticate`: what the newer token allows holds from here on, and for so long.
 */
export interface Authenticated {
  type: "Authenticated"
  payload: AuthenticatedPayload
}
export interface AuthenticatedPayload {
  /**
   * As in `Welcome`.
   */
  expires_at: number
}
export interface Error {
  type: "Error"
  payload: ErrorPayload
}
export interface ErrorPayload {
  message: string
  code: ErrorCode
  /**
   * The id of the chat message this is about; absent otherwise.
   */
  id?: string | null
}
