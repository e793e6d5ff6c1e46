import type { ChatMessage } from "@studyroom/client"
import { expect, it } from "vitest"
import { type Change, older, released, unasked } from "../src/chat/older"

function message(seq: number | null): ChatMessage {
  const state = seq === null ? "sending" : "sent"
  return { id: `m${seq}`, userId: "u", username: "U", content: "", timestamp: seq, seq, own: false, state }
}
const messages = (...positions: number[]) => positions.map(message)
const after = (...changes: Change[]) => changes.reduce(older, unasked)
const positions = (...changes: Change[]) => after(...changes).messages.map(({ seq }) => seq)

it("does not know whether there are earlier messages until the server has answered", () => {
  expect(unasked.more).toBe("unknown")
  expect(after({ type: "asked", more: true }).more).toBe("yes")
  expect(after({ type: "asked", more: false }).more).toBe("no")
})

it("puts each page before the pages that are loaded already, and remembers where the next one ends", () => {
  const state = after(
    { type: "loaded", messages: messages(7, 8), before: 7 },
    { type: "loaded", messages: messages(3, 5), before: null },
  )
  expect(state.messages.map(({ seq }) => seq)).toEqual([3, 5, 7, 8])
  expect(state).toMatchObject({ before: null, more: "no" })
})

it("keeps loaded messages when one of them is deleted", () => {
  const loaded: Change = { type: "loaded", messages: messages(3, 5), before: 3 }
  expect(positions(loaded, { type: "deleted", seq: 3 })).toEqual([5])
  expect(after(loaded, { type: "deleted", seq: 3 }).before).toBe(3)
})

it("keeps messages that the client lets go while somebody reads, and else loads them again when asked", () => {
  const loaded: Change = { type: "loaded", messages: messages(1, 2), before: null }
  const gone = { type: "released", messages: messages(4) } as const
  expect(positions(loaded, { ...gone, reading: true })).toEqual([1, 2, 4])
  expect(after(loaded, { ...gone, reading: false })).toEqual({ messages: [], before: null, more: "yes" })
})

it("starts over when the messages of the connection are others", () => {
  expect(after({ type: "asked", more: false }, { type: "replaced" })).toEqual(unasked)
})

it("finds the messages that a list has lost at its beginning, without deleted ones", () => {
  const previous = [...messages(1, 2, 3, 4), message(null)]
  expect(released(previous, messages(3, 4), new Set([2]))).toEqual(messages(1))
  expect(released(previous, [], new Set())).toEqual([])
  expect(released(messages(2), messages(2, 3), new Set())).toEqual([])
})
