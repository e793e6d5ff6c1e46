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
  | "origin_not_allowed"
  | "too_many_connections"

export interface JoinRoom {
  type: "JoinRoom"
  payload: JoinRoomPayload
}
export interface JoinRoomPayload {
  room_id: string
  since?: number | null
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
  server_time: number
  chat_retry_seconds?: number | null
  guest_token?: string | null
  expires_at?: number | null
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
  epoch: string
  recovered?: boolean | null
  history?: number
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
  timestamp: number
  id: string
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
  id: string
  deleted_seq: number
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
  expires_at: number
}
export interface Error {
  type: "Error"
  payload: ErrorPayload
}
export interface ErrorPayload {
  message: string
  code: ErrorCode
  id?: string | null
}
