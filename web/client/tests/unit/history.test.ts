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

test("missed messages are added to the others", () => {
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

test("an answer out of order does not move the position over missing messages", () => {
  const history = historyOf(1)
  history.add(message(5), { inOrder: false })
  expect(history.resume.since).toBe(1)
})

test("after a reset the next join starts again", () => {
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

test("a client that still misses a deletion asks from its old position", () => {
  const history = historyOf(1, 2)
  history.joined(joined({ recovered: true, history: 0, last_seq: 5 }))
  expect(history.resume.since).toBe(2)
  history.remove({ deleted_seq: 2, seq: 5 })
  expect(history.resume.since).toBe(5)
  expect(seqs(history)).toEqual([1])
})

const NEWCOMER_GETS = 2

/** A history whose newcomer got these messages. */
function joinedWith(...positions: number[]): History {
  const history = new History(4)
  history.joined(joined({ history: positions.length, last_seq: positions.at(-1) ?? 0 }), NEWCOMER_GETS)
  for (const seq of positions) history.add(message(seq), { inOrder: true })
  return history
}

test("a newcomer who gets fewer messages than there may be has all of them", () => {
  expect([joinedWith(5).hasMore, joinedWith(5, 6).hasMore]).toEqual([false, true])
})

test("a newcomer who gets none on purpose may load all of them", () => {
  const history = new History()
  history.joined(joined({ history: 0, last_seq: 9 }), 0)
  expect([history.hasMore, history.loading()]).toEqual([true, null])
})

test("a newcomer may have missed some where the messages are large", () => {
  const history = new History()
  history.joined(joined({ history: 1, last_seq: 9 }), 50)
  history.add({ ...message(9), content: "長".repeat(90_000) }, { inOrder: true })
  expect(history.hasMore).toBe(true)
})

test("pages of earlier messages are added before the others, and nothing of them is dropped", () => {
  const history = joinedWith(15, 16)
  expect(history.loading()).toBe(15)
  const page = [11, 12, 13, 14].map(message)
  expect(history.loaded(page, 11)).toEqual(page)
  expect(history.hasMore).toBe(true)
  history.add(message(17), { inOrder: true })
  expect(seqs(history)).toEqual([11, 12, 13, 14, 15, 16, 17])
  expect(history.loading()).toBe(11)
  history.loaded([message(2)], null)
  expect(history.hasMore).toBe(false)
})

test("a page without messages still leads to the one before it", () => {
  const history = joinedWith(15, 16)
  history.loading()
  expect(history.loaded([], 9)).toEqual([])
  expect([history.hasMore, history.loading()]).toEqual([true, 9])
})

test("a message that is deleted while its page is on its way is not shown", () => {
  const history = joinedWith(15, 16)
  history.loading()
  history.remove({ deleted_seq: 12, seq: 17 })
  history.loaded([11, 12, 13].map(message), null)
  expect(seqs(history)).toEqual([11, 13, 15, 16])
})

test("messages that leave the memory can be loaded again", () => {
  const history = joinedWith(5)
  for (const seq of [6, 7, 8, 9]) history.add(message(seq), { inOrder: true })
  expect([seqs(history), history.hasMore, history.loading()]).toEqual([[6, 7, 8, 9], true, 6])
})

test("a limit may change, and counts when the next message comes", () => {
  const limit = { now: Number.POSITIVE_INFINITY }
  const history = new History(() => limit.now)
  history.joined(joined({ history: 0, last_seq: 0 }))
  for (const seq of [1, 2, 3]) history.add(message(seq), { inOrder: true })
  limit.now = 2
  expect(seqs(history)).toEqual([1, 2, 3])
  history.add(message(4), { inOrder: true })
  expect(seqs(history)).toEqual([3, 4])
  expect(history.hasMore).toBe(true)
})
