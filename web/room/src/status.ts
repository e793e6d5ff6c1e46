/** The connection in words. */

import type { ConnectionState, RoomState } from "@studyroom/client"

export interface Status {
  light: "good" | "wait" | "bad"
  text: string
  /** What a press on the button beside it would do; none while the client helps itself. */
  remedy?: "connect" | "join"
}

/** `before`: whether we have been in the room since we entered. */
export function status(connection: ConnectionState, room: RoomState, before: boolean, now: number): Status {
  switch (connection.status) {
    case "closed":
      return { light: "bad", text: stopped(connection.code, connection.reason), remedy: "connect" }
    case "idle":
      return { light: "bad", text: "Disconnected", remedy: "connect" }
    case "waiting": {
      const seconds = Math.round((connection.retryAt - now) / 1000)
      return { light: "wait", text: seconds < 1 ? "Reconnecting…" : `Reconnecting in ${seconds} s…` }
    }
    case "open":
      if (room.status === "joined") return { light: "good", text: "Connected" }
      if (room.status === "refused") return { light: "bad", text: refused(room), remedy: "join" }
  }
  return { light: "wait", text: before ? "Reconnecting…" : "Connecting…" }
}

function stopped(code: number, reason: string): string {
  return code === 1000 ? "Disconnected" : `Disconnected (${code}${reason && `, ${reason}`})`
}

function refused(room: Extract<RoomState, { status: "refused" }>): string {
  switch (room.code) {
    case "room_full":
      return "The room is full"
    case "removed":
      return "A moderator has removed you"
    case "banned_from_room":
      return "You are banned from this room"
    default:
      return `Not let in: ${room.message}`
  }
}
