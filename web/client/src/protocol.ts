// Generated from the contract by `make schema`. Do not edit it.

export type StudyroomClientProtocol = ClientMessage | ServerMessage
export type ClientMessage =
  | JoinRoom
  | LeaveRoom
  | ChatSend
  | EditChat
  | DeleteChat
  | ReactToChat
  | CursorMove
  | Typing
  | BroadcastSend
  | UpdatePresence
  | Ping
  | Authenticate
  | Rename
  | Channel
  | OpenChannel
  | CloseChannel
export type ServerMessage =
  | Welcome
  | JoinedRoom
  | UserJoined
  | UserUpdated
  | UserLeft
  | StoredChat
  | ChatDeleted
  | ChatEdited
  | ChatReaction
  | ChatReset
  | CursorUpdate
  | TypingStatus
  | Broadcast
  | PresenceChanged
  | Moving
  | Channel
  | ChannelClosed
  | Pong
  | Authenticated
  | ErrorMessage
/**
 * Sent as `Error.code` over the WebSocket and as `code` in the JSON body of a refused HTTP request.
 */
export type ErrorCode =
  | "invalid_json"
  | "unknown_type"
  | "invalid_message"
  | "chat_empty"
  | "chat_too_long"
  | "living_chat_off"
  | "chat_not_found"
  | "not_author"
  | "edit_too_late"
  | "broadcast_not_allowed"
  | "broadcast_too_large"
  | "presence_too_large"
  | "rename_not_allowed"
  | "not_in_room"
  | "busy"
  | "rate_limited"
  | "room_full"
  | "room_not_allowed"
  | "document_not_allowed"
  | "banned_from_room"
  | "removed"
  | "presence_unavailable"
  | "chat_unavailable"
  | "chat_storage_full"
  | "documents_unavailable"
  | "document_exists"
  | "document_deleted"
  | "document_full"
  | "document_too_large"
  | "document_too_complex"
  | "documents_storage_full"
  | "too_many_documents"
  | "audit_unavailable"
  | "audit_storage_full"
  | "versions_full"
  | "internal"
  | "invalid_request"
  | "unauthorized"
  | "keys_unavailable"
  | "banned"
  | "role_not_allowed"
  | "connection_unavailable"
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
   * The last position in the room's chat that this client has seen: the `seq` of a message, or `last_seq`.
   */
  since?: number | null
  /**
   * The epoch of that position.
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
   * An id that the client chooses. Retries with the same id are stored once.
   */
  id?: string | null
  /**
   * The id of the message that this one replies to.
   */
  reply_to?: string | null
  /**
   * The users that the message mentions. They need not be in the room.
   */
  mentions?: string[] | null
}
/**
 * Replaces the content of an own chat message.
 */
export interface EditChat {
  type: "EditChat"
  payload: EditChatPayload
}
export interface EditChatPayload {
  /**
   * The id of the message to edit.
   */
  target_id: string
  /**
   * The position of that message.
   */
  target_seq: number
  content: string
  /**
   * An id of this edit that the client chooses. Retries with the same id are stored once.
   */
  id?: string | null
  /**
   * The users that the message mentions from now on.
   */
  mentions?: string[] | null
}
/**
 * Deletes an own chat message. May be repeated.
 */
export interface DeleteChat {
  type: "DeleteChat"
  payload: DeleteChatPayload
}
export interface DeleteChatPayload {
  /**
   * The id of the message to delete.
   */
  target_id: string
  /**
   * The position of that message.
   */
  target_seq: number
}
/**
 * Adds a reaction to a chat message, or takes it back.
 */
export interface ReactToChat {
  type: "ReactToChat"
  payload: ReactToChatPayload
}
export interface ReactToChatPayload {
  /**
   * The id of the message to react to.
   */
  target_id: string
  /**
   * The position of that message.
   */
  target_seq: number
  /**
   * An emoji or a short text.
   */
  reaction: string
  /**
   * False to take the reaction back.
   */
  is_on: boolean
  /**
   * An id of this reaction that the client chooses. Retries with the same id are stored once.
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
/**
 * Sends an event to the other members of the room. Nothing stores it.
 */
export interface BroadcastSend {
  type: "Broadcast"
  payload: BroadcastSendPayload
}
export interface BroadcastSendPayload {
  /**
   * The name of the event: ASCII letters, digits and `_.:-`, with a letter first.
   */
  event: string
  data: unknown
  /**
   * A newer event of the same sender with the same name and key replaces one that still waits.
   */
  key?: string | null
}
/**
 * Changes fields of the user's presence in the room.
 */
export interface UpdatePresence {
  type: "UpdatePresence"
  payload: UpdatePresencePayload
}
export interface UpdatePresencePayload {
  /**
   * The fields that change. Null deletes a field, and all others stay.
   */
  fields: {
    [k: string]: unknown
  }
}
export interface Ping {
  type: "Ping"
}
/**
 * Replaces the access token with a newer one of the same user, before the old one expires.
 */
export interface Authenticate {
  type: "Authenticate"
  payload: AuthenticatePayload
}
export interface AuthenticatePayload {
  token: string
}
/**
 * Shows a guest under another name from now on. The name becomes what it would be in the handshake.
 */
export interface Rename {
  type: "Rename"
  payload: RenamePayload
}
export interface RenamePayload {
  username: string
}
/**
 * All further messages in this direction belong to this channel, until the next `Channel`.
 */
export interface Channel {
  type: "Channel"
  payload: ChannelPayload
}
export interface ChannelPayload {
  channel: number
}
/**
 * The server answers with `Welcome` in the channel, or with `ChannelClosed`.
 */
export interface OpenChannel {
  type: "OpenChannel"
  payload: OpenChannelPayload
}
export interface OpenChannelPayload {
  /**
   * The client chooses the number. It is free again after `ChannelClosed`.
   */
  channel: number
  /**
   * The room that the client is about to join there, as `?room=` in the address of a connection.
   */
  room?: string | null
}
/**
 * Leaves the room of the channel, as a close frame does for a connection. The answer is `ChannelClosed`.
 */
export interface CloseChannel {
  type: "CloseChannel"
  payload: CloseChannelPayload
}
export interface CloseChannelPayload {
  channel: number
  /**
   * Has the meaning of the code of a close frame.
   */
  close_code?: 1000 | 1001
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
   * Retries of chat with the same `id` are deduplicated for so many seconds.
   */
  chat_retry_seconds?: number | null
  /**
   * A guest that connects with `?guest_token=` is the same user again.
   */
  guest_token?: string | null
  /**
   * Unix milliseconds at which the access token expires. The server closes the connection (4002) soon after.
   */
  expires_at?: number | null
  /**
   * Whether a client that changes rooms may reconnect with `?room=` in its address, because the load balancer then
   * chooses a gateway by the room.
   */
  room_hints?: boolean | null
  /**
   * The largest message that the gateway reads. It closes the connection (1009) after a larger one.
   */
  message_max_bytes?: number | null
  /**
   * The longest `content` of a chat message, in Unicode code points.
   */
  chat_max_chars?: number | null
  /**
   * How many of the newest chat messages a newcomer gets at most.
   */
  history_on_join?: number | null
  /**
   * How many channels the connection may have at a time; absent if it has none.
   */
  channels?: number | null
  /**
   * Whether members may edit and delete their chat messages, react, reply and mention.
   */
  living_chat?: boolean | null
  /**
   * The version of this protocol. A server that names none has version 1.
   */
  protocol?: number | null
}
/**
 * The answer to `JoinRoom`. Every room event after it is newer than its roster.
 */
export interface JoinedRoom {
  type: "JoinedRoom"
  payload: JoinedRoomPayload
}
export interface JoinedRoomPayload {
  room_id: string
  users: UserPresence[]
  /**
   * Changes when the server has lost its history. Positions from another epoch mean nothing.
   */
  epoch: string
  /**
   * Whether all messages after `since` follow; present only after a join with `since`. If false, some are gone.
   */
  recovered?: boolean | null
  /**
   * The number of earlier `Chat` messages that follow at once: the missed ones, or the newest.
   */
  history?: number
  /**
   * The position after the `history`; null if the gateway cannot read it now, so it follows later.
   */
  last_seq?: number | null
  /**
   * The value of `?room=` for the next connection, in place of the id of a large room.
   */
  room_hint?: string | null
}
export interface UserPresence {
  user_id: string
  username: string
  avatar_url?: string | null
  cursor?: CursorPosition | null
  /**
   * The fields of the member's custom presence; absent if there are none.
   */
  presence?: {
    [k: string]: unknown
  } | null
}
export interface UserJoined {
  type: "UserJoined"
  payload: UserPayload
}
export interface UserPayload {
  user: UserPresence
}
/**
 * A member has another name or avatar, for example after a join with another token.
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
 * A stored chat message. Its author receives it too, as the acknowledgement.
 */
export interface StoredChat {
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
   * The id of the message that this one replies to. It may be gone.
   */
  reply_to?: string | null
  /**
   * The users that the message mentions.
   */
  mentions?: string[] | null
  /**
   * When its author edited it last, in Unix seconds. The content is the edited one.
   */
  edited_at?: number | null
  /**
   * The reactions so far, in the order in which they came first.
   */
  reactions?: ReactionSummary[] | null
  /**
   * The position in the room's chat. Positions grow within an epoch, not always by one.
   */
  seq: number
}
export interface ReactionSummary {
  reaction: string
  /**
   * How many users have reacted so.
   */
  count: number
  /**
   * The first of these users.
   */
  user_ids: string[]
}
/**
 * A message was deleted: clients stop showing it, and nobody receives it again.
 */
export interface ChatDeleted {
  type: "ChatDeleted"
  payload: ChatDeletedPayload
}
export interface ChatDeletedPayload {
  /**
   * The id of the deleted message. Other authors may have chosen the same id, but `deleted_seq` is unique.
   */
  id: string
  /**
   * The position of the deleted message.
   */
  deleted_seq: number
  /**
   * True if something else than a message was deleted, such as a reaction. Then the chat of the room begins again: a
   * `ChatReset` follows, and no resume from before succeeds.
   */
  resets?: boolean | null
  /**
   * The position of this notice, which is ordered like a message.
   */
  seq: number
}
/**
 * The author of a message has edited it. The author receives it too, as the acknowledgement.
 */
export interface ChatEdited {
  type: "ChatEdited"
  payload: ChatEditedPayload
}
export interface ChatEditedPayload {
  /**
   * The author of the message.
   */
  user_id: string
  /**
   * The id of the edited message.
   */
  target_id: string
  /**
   * The position of the edited message.
   */
  target_seq: number
  /**
   * The content of the message from now on.
   */
  content: string
  /**
   * Unix seconds.
   */
  timestamp: number
  /**
   * The id of this edit.
   */
  id: string
  /**
   * The users that the message mentions from now on.
   */
  mentions?: string[] | null
  /**
   * The position of this edit, which is ordered like a message.
   */
  seq: number
}
/**
 * A user has reacted to a message, or has taken a reaction back. The user receives it too.
 */
export interface ChatReaction {
  type: "ChatReaction"
  payload: ChatReactionPayload
}
export interface ChatReactionPayload {
  /**
   * The user that reacts.
   */
  user_id: string
  /**
   * The id of the message.
   */
  target_id: string
  /**
   * The position of the message.
   */
  target_seq: number
  reaction: string
  /**
   * False if the user has taken the reaction back.
   */
  is_on: boolean
  /**
   * The id of this reaction.
   */
  id: string
  /**
   * The position of this reaction, which is ordered like a message.
   */
  seq: number
}
/**
 * Some chat after the last message that this client has seen is lost or too much, or the epoch has changed.
 *
 * Older positions are void. After `last_seq` nothing is missing. Join again to see the stored messages.
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
/**
 * An event that another member has sent. Nothing stores it, so newcomers never get it.
 */
export interface Broadcast {
  type: "Broadcast"
  payload: BroadcastPayload
}
export interface BroadcastPayload {
  user_id: string
  event: string
  key?: string | null
  data: unknown
}
/**
 * Fields of a member's presence have changed. The user's own connections get it too.
 */
export interface PresenceChanged {
  type: "PresenceChanged"
  payload: PresenceChangedPayload
}
export interface PresenceChangedPayload {
  user_id: string
  /**
   * The fields that have changed, with null for those that were deleted.
   */
  fields: {
    [k: string]: unknown
  }
}
/**
 * The server is about to close this connection. Open another one first, and join the room there.
 */
export interface Moving {
  type: "Moving"
  payload: MovingPayload
}
export interface MovingPayload {
  /**
   * The server closes this connection after so many milliseconds, if the client has not done so.
   */
  within_ms: number
  /**
   * The value of `?room=` for the next connection; absent if the client's own value stays right.
   */
  room?: string | null
}
/**
 * The channel has ended, or was refused. The last message about it.
 */
export interface ChannelClosed {
  type: "ChannelClosed"
  payload: ChannelClosedPayload
}
export interface ChannelClosedPayload {
  channel: number
  /**
   * A close code, with the same meaning as for a connection.
   */
  close_code: number
  reason: string
}
export interface Pong {
  type: "Pong"
}
/**
 * The answer to `Authenticate`: the newer token is valid from now on, until `expires_at`.
 */
export interface Authenticated {
  type: "Authenticated"
  payload: AuthenticatedPayload
}
export interface AuthenticatedPayload {
  /**
   * Unix milliseconds at which the newer token expires.
   */
  expires_at: number
}
export interface ErrorMessage {
  type: "Error"
  payload: ErrorPayload
}
export interface ErrorPayload {
  message: string
  code: ErrorCode
  /**
   * The id of the refused chat message, edit or reaction; absent for other errors.
   */
  id?: string | null
}
