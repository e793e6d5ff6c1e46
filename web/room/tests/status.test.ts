import type { ConnectionState, RoomState } from "@studyroom/client"
import { expect, it } from "vitest"
import { status } from "../src/status"

const open: ConnectionState = { status: "open", userId: "u", connectionId: "c" }
const joining: RoomState = { status: "joining", roomId: "r" }
const joined: RoomState = { status: "joined", roomId: "r", epoch: "e" }
const refused: RoomState = { status: "refused", roomId: "r", code: "room_full", message: "full" }
const cause = { code: "server_closed", message: "why" } as const
const waiting: ConnectionState = { status: "waiting", attempt: 1, retryAt: 41_000, code: 1012, cause }

it.each([
  [{ status: "connecting", attempt: 0 }, joining, false, "wait", "Connecting…"],
  [open, joining, false, "wait", "Connecting…"],
  [open, joined, true, "good", "Connected"],
  [{ status: "connecting", attempt: 1 }, joining, true, "wait", "Reconnecting…"],
  [{ ...waiting, retryAt: 1200 }, joining, true, "wait", "Reconnecting…"],
] as const)("describes %j in %j (before: %j) as %s, %s", (connection, room, before, light, text) => {
  expect(status(connection, room, before, 1000)).toEqual({ light, text })
})

it.each([
  [1000, 40],
  [1001, 40],
  [2000, 39],
  [38_999, 3],
])("counts the seconds down, and offers not to wait (at %i ms: %i s)", (now, seconds) => {
  expect(status(waiting, joining, true, now)).toMatchObject({ text: "Reconnecting", seconds, remedy: "now" })
})

it("offers to connect again after a close that is for good, and shows why", () => {
  const closed: ConnectionState = { status: "closed", code: 4500, reason: "flood", cause }
  expect(status(closed, joining, true, 0)).toEqual({
    light: "bad",
    text: "Disconnected, because this tab sent too much.",
    remedy: "connect",
  })
  const refusal = { code: "banned", message: "raw" } as const
  expect(status({ ...closed, code: 1006, cause: refusal }, joining, false, 0).text).toBe(
    "You are banned from this server.",
  )
  expect(status({ ...closed, code: 1000 }, joining, true, 0).text).toBe("Disconnected.")
})

it("offers to ask again where a room does not let the user in", () => {
  expect(status(open, refused, false, 0)).toEqual({ light: "bad", text: "The room is full.", remedy: "join" })
})
