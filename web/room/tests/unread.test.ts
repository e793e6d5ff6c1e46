import type { ChatMessage } from "@studyroom/client"
import { expect, it } from "vitest"
import { type Event, firstNew, nothing, read, unread } from "../src/chat/unread"

function message(seq: number | null, own = false): ChatMessage {
  const state = seq === null ? "sending" : "sent"
  return { id: `m${seq}`, userId: "u", username: "U", content: "", timestamp: seq, seq, own, state }
}

const after = (...events: Event[]) => events.reduce(read, nothing)
const away: Event = { type: "looked away" }

it("counts nothing before anything was looked at: history does not count", () => {
  expect(unread([message(1), message(2)], nothing)).toBe(0)
})

it("counts messages of others since the user looked away", () => {
  const reading = after({ type: "looked", last: 2 }, away)
  const messages = [message(1), message(2), message(3), message(4, true), message(7), message(null, true)]
  expect(unread(messages, reading)).toBe(2)
  expect(firstNew(messages, reading)).toBe("m3")
})

it("puts the line above messages of others, never above the user's own", () => {
  const reading = after({ type: "looked", last: 2 }, away)
  expect(firstNew([message(2), message(3, true)], reading)).toBeUndefined()
})

it("leaves the line in place while the user reads, and takes it away with an answer or the next look away", () => {
  const messages = [message(1), message(2)]
  const back = after({ type: "looked", last: 1 }, away, { type: "looked", last: 2 })
  expect(unread(messages, back)).toBe(0)
  expect(firstNew(messages, back)).toBe("m2")
  expect(firstNew(messages, read(back, { type: "answered" }))).toBeUndefined()
  expect(firstNew(messages, read(back, away))).toBeUndefined()
})

it("forgets positions when they are void, so that lower ones are not taken for seen", () => {
  const reading = after(
    { type: "looked", last: 900 },
    { type: "positions are void" },
    { type: "looked", last: 3 },
    away,
  )
  expect(unread([message(3), message(4)], reading)).toBe(1)
})
