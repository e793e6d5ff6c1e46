import type { ConnectionState, RoomState } from "@studyroom/client"
import { expect, it } from "vitest"
import { status } from "../src/status"

const open: ConnectionState = { status: "open", userId: "u", connectionId: "c" }
const joining: RoomState = { status: "joining", roomId: "r" }
const joined: RoomState = { status: "joined", roomId: "r", epoch: "e" }
const refused: RoomState = { status: "refused", roomId: "r", code: "room_full", message: "full" }
const waiting: ConnectionState = { status: "waiting", attempt: 1, retryAt: 41_000, code: 1012 }

it.each([
  [{ status: "connecting", attempt: 0 }, joining, false, "wait", "Connecting…"],
  [open, joining, false, "wait", "Connecting…"],
  [open, joined, true, "good", "Connected"],
  [{ status: "connecting", attempt: 1 }, joining, true, "wait", "Reconnecting…"],
  [waiting, joining, true, "wait", "Reconnecting in 40 s…"],
  [{ ...waiting, retryAt: 1200 }, joining, true, "wait", "Reconnecting…"],
] as const)("says of %j in %j (before: %j) %s, %s", (connection, room, before, light, text) => {
  expect(status(connection, room, before, 1000)).toEqual({ light, text })
})

it("offers to connect again after a close that is for good, and says why", () => {
  const closed: ConnectionState = { status: "closed", code: 4500, reason: "flood" }
  expect(status(closed, joining, true, 0)).toEqual({
    light: "bad",
    text: "Disconnected (4500, flood)",
    remedy: "connect",
  })
  expect(status({ ...closed, code: 1000 }, joining, true, 0).text).toBe("Disconnected")
})

it("offers to ask again where a room does not let one in", () => {
  expect(status(open, refused, false, 0)).toEqual({ light: "bad", text: "The room is full", remedy: "join" })
  const texts = (["removed", "banned_from_room", "room_not_allowed"] as const).map(
    (code) => status(open, { ...refused, code, message: "why" }, true, 0).text,
  )
  expect(texts).toEqual(["A moderator has removed you", "You are banned from this room", "Not let in: why"])
})
