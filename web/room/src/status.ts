/** The connection in words. */

import type { ConnectionState, RoomState } from "@studyroom/client"
import { closeSentence, sentence } from "./codes"
import { texts } from "./texts"

export interface Status {
  light: "good" | "wait" | "bad"
  text: string
  /** The seconds until the client tries again by itself. Absent when it does not wait, or not for long. */
  seconds?: number
  /** The action of the button beside it. Absent while there is nothing that the user could do. */
  remedy?: "now" | "connect" | "join"
}

/** Describes the connection. `before`: whether the user has been in the room since they entered. */
export function status(connection: ConnectionState, room: RoomState, before: boolean, now: number): Status {
  const t = texts()
  switch (connection.status) {
    case "closed":
      return { light: "bad", text: closeSentence(connection), remedy: "connect" }
    case "idle":
      return { light: "bad", text: sentence("close_called"), remedy: "connect" }
    case "waiting": {
      const seconds = Math.ceil((connection.retryAt - now) / 1000)
      if (seconds > 1) return { light: "wait", text: t.waiting, seconds, remedy: "now" }
      break
    }
    case "open":
      if (room.status === "joined") return { light: "good", text: t.connected }
      if (room.status === "refused") return { light: "bad", text: sentence(room.code), remedy: "join" }
  }
  return { light: "wait", text: before ? t.reconnecting : t.connecting }
}
