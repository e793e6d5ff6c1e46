/**
 * Sentences for the codes of the protocol, in English. The texts that the server sends are for developers, and may
 * change.
 */

import { params } from "@nanostores/i18n"
import type { FailureCode } from "@studyroom/client"

const OUR_FAULT = "The page made a mistake. Reload it and try again."
const BUSY = "The server is busy. Try again in a moment."
const NOT_HERE = "This page cannot be used at this address."
const NO_TOKEN = "This server lets only people with a token in."

const ofCodes: Record<FailureCode, string> = {
  // messages
  chat_empty: "It has nothing that people can see.",
  chat_too_long: "It is too long.",
  chat_unavailable: "The chat cannot be reached now. Try again in a moment.",
  chat_storage_full: "The server has no room for more messages.",
  audit_storage_full: "The server has no room for more records of erasures.",
  chat_not_found: "It is not there any more.",
  not_author: "Only its author may do this.",
  edit_too_late: "It is too old to be changed.",
  living_chat_off: "Messages cannot be changed here.",
  expired: "The server did not answer in time. Some may have received it.",
  closed: "The connection was closed first.",
  left: "You left the room first.",
  not_found: "It is not there any more.",
  not_failed: "It is not there any more.",
  not_loaded: "A part of the page could not be loaded. Reload the page.",
  // connections
  close_called: "Disconnected.",
  page_left: "Disconnected, because the page was left.",
  connection_lost: "The connection was lost.",
  no_answer: "The server does not answer.",
  server_closed: "The server has closed the connection.",
  token_failed: OUR_FAULT,
  no_token: NO_TOKEN,
  invalid_url: OUR_FAULT,
  no_websocket: "This browser has no WebSocket. Use another one.",
  // rooms
  room_full: "The room is full.",
  room_not_allowed: "Your access does not include this room.",
  document_not_allowed: "Your access does not include the documents of this room.",
  document_exists: "Somebody has written in it already.",
  document_deleted: "This document was deleted. Reload the page to open a new one.",
  document_full: "The document is as long as it may be.",
  document_too_large: "This is too long for one edit.",
  document_too_complex: "The server cannot convert this document.",
  too_many_documents: "The room has as many documents as it may have.",
  versions_full: "There are as many versions as there may be. Delete one first.",
  documents_unavailable: "The documents cannot be reached now. Try again in a moment.",
  documents_storage_full: "The server has no room for more in documents.",
  banned_from_room: "You are banned from this room.",
  removed: "A moderator has removed you from this room.",
  not_in_room: "You are not in the room now.",
  presence_unavailable: BUSY,
  rename_not_allowed: "Your name comes with your access.",
  // users
  banned: "You are banned from this server.",
  unauthorized: NO_TOKEN,
  broadcast_not_allowed: "Your access does not include this.",
  role_not_allowed: "Only moderators may do this.",
  rate_limited: "That was too much at once. Try again in a moment.",
  too_many_of_user: "You have too many tabs open. Close some and try again.",
  too_many_of_address: "Too many people are connected from your network. Try again later.",
  // the server
  busy: BUSY,
  internal: "The server has made a mistake. Try again in a moment.",
  draining: BUSY,
  keys_unavailable: BUSY,
  connection_unavailable: BUSY,
  moderation_unavailable: BUSY,
  audit_unavailable: BUSY,
  too_many_connections: "The server is full. Try again later.",
  too_many_handshakes: BUSY,
  // mistakes of the page or of its installation
  invalid_json: OUR_FAULT,
  unknown_type: OUR_FAULT,
  invalid_message: OUR_FAULT,
  invalid_request: OUR_FAULT,
  bad_handshake: OUR_FAULT,
  upgrade_required: OUR_FAULT,
  headers_too_large: OUR_FAULT,
  body_too_large: OUR_FAULT,
  broadcast_too_large: OUR_FAULT,
  presence_too_large: OUR_FAULT,
  host_not_allowed: NOT_HERE,
  origin_not_allowed: NOT_HERE,
}

export const codes = {
  ...ofCodes,
  // close codes
  ourFault: OUR_FAULT,
  tooLarge: "A message was too large for the server.",
  floods: "Disconnected, because this tab sent too much.",
  disconnected: "A moderator has disconnected you.",
  unknownClose: params("The server has closed the connection (code {code})."),
  /** For a code that this page does not know. */
  general: "Something went wrong. Try again in a moment.",
}
