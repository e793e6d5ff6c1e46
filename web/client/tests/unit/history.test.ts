import { expect, test } from "vitest"
import { History, type StoredMessage } from "../../src/core/history.js"

const ROOM = "550e8400-e29b-41d4-a716-446655440000"

function message(seq: number): StoredMessage {
  return {
    id: `id ${seq}`,
    userId: "u",
    username: "U",
    content: `${seq}`,
    timestamp: 0,
    seq,
    own: false,
    state: "sent",
  }
}

const seqs = (history: History) => history.messages.map(({ seq }) => seq)
const joined = (fields: {
  epoch?: string
  recovered?: boolean
  history?: number
  last_seq?: number | null
}) => ({
  room_id: ROOM,
  users: [],
  epoch: "e1",
  ...fields,
})

function historyOf(...seqs: number[]): History {
  const history = new History(1000)
  history.joined(joined({ history: seqs.length, last_seq: seqs.at(-1) ?? 0 }))
  for (const seq of seqs) history.add(message(seq), { inOrder: true })
  return history
}

test("the first join asks for nothing to be resumed and replaces nothing", () => {
  const history = new History(1000)
  expect(history.resume).toEqual({})
  expect(history.joined(joined({ history: 0, last_seq: 7 }))).toBe(false)
})

test("a room without messages has a position too", () => {
  const history = new History(1000)
  history.joined(joined({ history: 0, last_seq: 0 }))
  expect(history.resume).toEqual({ since: 0, epoch: "e1" })
})

test("the position moves with the messages of the past", () => {
  const history = new History(1000)
  history.joined(joined({ history: 2, last_seq: 5 }))
  history.add(message(3), { inOrder: true })
  expect(history.complete).toBe(false)
  expect(history.resume).toEqual({ since: 3, epoch: "e1" })
  history.add(message(5), { inOrder: true })
  expect(history.complete).toBe(true)
  expect(history.resume).toEqual({ since: 5, epoch: "e1" })
})

test("what was missed is added to what is there", () => {
  const history = historyOf(1, 2)
  expect(history.joined(joined({ recovered: true, history: 1, last_seq: 4 }))).toBe(false)
  history.add(message(4), { inOrder: true })
  expect(seqs(history)).toEqual([1, 2, 4])
})

test.each([{ recovered: false }, { epoch: "e2", recovered: false }, {}])(
  "%j takes the place of what is there",
  (fields) => {
    const history = historyOf(1, 2)
    expect(history.joined(joined({ ...fields, history: 1, last_seq: 7 }))).toBe(true)
    history.add(message(7), { inOrder: true })
    expect(seqs(history)).toEqual([7])
  },
)

test("a message is there once, and where its position says", () => {
  const history = historyOf(1, 3)
  expect(history.add(message(2), { inOrder: false })).toBe(true)
  expect(history.add(message(3), { inOrder: true })).toBe(false)
  expect(seqs(history)).toEqual([1, 2, 3])
})

test("an answer out of order does not move the position over what has not come", () => {
  const history = historyOf(1)
  history.add(message(5), { inOrder: false })
  expect(history.resume.since).toBe(1)
})

test("after a reset the next join begins anew", () => {
  const history = historyOf(1)
  history.reset({ room_id: ROOM, epoch: "e2", last_seq: 4 })
  expect(history.resume).toEqual({})
  expect(seqs(history)).toEqual([1])
})

test("only so many of the newest are kept", () => {
  const history = new History(2)
  history.joined(joined({}))
  for (const seq of [1, 2, 3]) history.add(message(seq), { inOrder: true })
  expect(seqs(history)).toEqual([2, 3])
})

test("a deleted message goes, and the position moves on", () => {
  const history = historyOf(1, 2, 3)
  history.remove({ deleted_seq: 2, seq: 4 })
  expect(seqs(history)).toEqual([1, 3])
  expect(history.resume.since).toBe(4)
})

test("who is still to be told what was deleted asks from where it was", () => {
  const history = historyOf(1, 2)
  history.joined(joined({ recovered: true, history: 0, last_seq: 5 }))
  expect(history.resume.since).toBe(2)
  history.remove({ deleted_seq: 2, seq: 5 })
  expect(history.resume.since).toBe(5)
  expect(seqs(history)).toEqual([1])
})
