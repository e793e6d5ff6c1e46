import type { ChatFailure, ConnectionState, RoomState } from "../types.js"
import { NORMAL } from "./close-codes.js"

/** The reason why messages cannot be stored before another call of the application. Null if there is none. */
export function hopeless(room: RoomState, connection: ConnectionState): ChatFailure | null {
  if (room.status === "refused") return { code: room.code, message: room.message }
  // After `close` the user may connect again, and unsent messages are sent then.
  if (connection.status !== "closed" || connection.code === NORMAL) return null
  return { code: "closed", message: connection.reason }
}
