import { expect, test, vi } from "vitest"
import { Entry } from "../../src/core/entry.js"
import { NEVER } from "../../src/core/never.js"
import type { ErrorCode } from "../../src/index.js"

const [A, B] = ["550e8400-e29b-41d4-a716-44665544000a", "550e8400-e29b-41d4-a716-44665544000b"]
const refusal = (code: ErrorCode) => ({ code, message: code })

// Waits have their full length.
vi.spyOn(Math, "random").mockReturnValue(1)

function asking(...rooms: string[]): Entry {
  const entry = new Entry()
  for (const room of rooms) {
    entry.want(room)
    entry.asked()
  }
  return entry
}

test("a room may be named in any spelling of its id", () => {
  const entry = asking(`urn:uuid:${A.toUpperCase()}`)
  expect(entry.joined(A, "e")).toBe(true)
  expect(entry.state).toMatchObject({ status: "joined", epoch: "e" })
})

test("the answer to an earlier join does not count", () => {
  const entry = asking(A, B)
  expect(entry.joined(A, "e")).toBe(false)
  expect(entry.inside).toBe(false)
  expect(entry.joined(B, "e")).toBe(true)
})

test("the refusal of an earlier join does not count", () => {
  const entry = asking(A, B)
  entry.refused(refusal("room_full"), 0)
  expect(entry.wakeAt).toBe(NEVER)
  expect(entry.state).toEqual({ status: "joining", roomId: B })
  entry.refused(refusal("room_full"), 0)
  expect(entry.state).toMatchObject({ status: "refused", roomId: B, code: "room_full" })
})

test.each(["presence_unavailable", "chat_unavailable", "busy", "rate_limited", "internal"] as const)(
  "%s means to ask again, later each time",
  (code) => {
    const entry = asking(A)
    entry.refused(refusal(code), 0)
    expect(entry.wakeAt).toBe(500)
    expect(entry.ask()).toBe(A)
    entry.asked()
    entry.refused(refusal(code), 500)
    expect(entry.wakeAt).toBe(1500)
    expect(entry.state.status).toBe("joining")
  },
)

test("an error that is about no join changes nothing", () => {
  const entry = asking(A)
  entry.joined(A, "e")
  entry.refused(refusal("invalid_message"), 0)
  expect(entry.wakeAt).toBe(NEVER)
  expect(entry.inside).toBe(true)
})

test("an error is about chat if it names a message, or if nothing else can have caused it", () => {
  const entry = asking(A)
  expect(entry.isAboutChat({ ...refusal("chat_too_long"), id: "m" })).toBe(true)
  expect(entry.isAboutChat(refusal("rate_limited"))).toBe(false)
  entry.joined(A, "e")
  expect(entry.isAboutChat(refusal("rate_limited"))).toBe(true)
  expect(entry.isAboutChat(refusal("broadcast_too_large"))).toBe(false)
})

test("a lost connection leaves the room wanted, and no join waits for its time", () => {
  const entry = asking(A)
  entry.refused(refusal("busy"), 0)
  entry.lost()
  expect(entry.wakeAt).toBe(NEVER)
  entry.asked()
  entry.joined(A, "e")
  entry.lost()
  expect(entry.state).toEqual({ status: "joining", roomId: A })
})

test("a removed user is out, and joins again only on request", () => {
  const entry = asking(A)
  entry.joined(A, "e")
  entry.refused(refusal("removed"), 0)
  expect(entry.ask()).toBeNull()
  expect(entry.state).toMatchObject({ status: "refused", roomId: A, code: "removed" })
  entry.lost()
  expect(entry.state.status).toBe("refused")
})

test("a removal from the earlier room does not count for the room that is wanted now", () => {
  const entry = asking(A)
  entry.joined(A, "e")
  entry.want(B)
  entry.asked()
  entry.refused(refusal("removed"), 0)
  expect(entry.joined(B, "e")).toBe(true)
})

test("a user banned from a room is not let in and does not ask again", () => {
  const entry = asking(A)
  entry.refused(refusal("banned_from_room"), 0)
  expect(entry.wakeAt).toBe(NEVER)
  expect(entry.state).toMatchObject({ status: "refused", code: "banned_from_room" })
})
