/** Messages as the edits and reactions that came since have made them. */

import { expect, test } from "vitest"
import { Fold } from "../../src/core/folding.js"
import type { ChatMessage } from "../../src/index.js"

const ANN = "ann"

function message(seq: number, more: Partial<ChatMessage> = {}): ChatMessage {
  return {
    id: `id ${seq}`,
    userId: ANN,
    username: "Ann",
    content: "one",
    timestamp: 0,
    seq,
    own: true,
    state: "sent",
    ...more,
  }
}

function edited(seq: number, content: string, timestamp = seq) {
  const payload = {
    user_id: ANN,
    target_id: "id 1",
    target_seq: 1,
    content,
    timestamp,
    id: `edit ${seq}`,
    seq,
  }
  return { type: "ChatEdited" as const, payload }
}

function reacted(user: string, is_on = true, reaction = "+", seq = 9) {
  const payload = { user_id: user, target_id: "id 1", target_seq: 1, reaction, is_on, id: "r", seq }
  return { type: "ChatReaction" as const, payload }
}

test("the newest edit is shown, and an older one that comes again changes nothing", () => {
  const fold = new Fold()
  for (const edit of [edited(5, "two"), edited(7, "three"), edited(5, "two")]) fold.take(edit)
  expect(fold.shown([message(1)], ANN)).toMatchObject([{ content: "three", editedAt: 7 }])
})

test("a message that the server has folded already stays as it is when its edits come again", () => {
  const fold = new Fold()
  fold.take(edited(5, "two"))
  const [shown] = fold.shown([message(1, { content: "three", edited_at: 7 })], ANN)
  expect(shown).toMatchObject({ content: "three", editedAt: 7 })
})

test("a user counts once for each reaction, also if the server has counted it before", () => {
  const fold = new Fold()
  const before = message(1, { reactions: [{ reaction: "+", count: 2, user_ids: [ANN, "bob"] }] })
  for (const reaction of [reacted("bob"), reacted("eve"), reacted(ANN, false)]) fold.take(reaction)
  const [shown] = fold.shown([before], ANN)
  expect(shown?.reacted).toEqual([{ reaction: "+", count: 2, userIds: ["bob", "eve"], own: false }])
})

test("a reaction that everyone takes back is gone, and others keep their order", () => {
  const fold = new Fold()
  fold.take(reacted(ANN))
  fold.take(reacted("bob", true, "-"))
  fold.take(reacted(ANN, false, "+", 10))
  expect(fold.shown([message(1)], ANN)[0]?.reacted).toEqual([
    { reaction: "-", count: 1, userIds: ["bob"], own: false },
  ])
})

test("a message has at most 20 different reactions", () => {
  const fold = new Fold()
  for (let number = 0; number < 30; number += 1) fold.take(reacted("bob", true, `${number}`))
  expect(fold.shown([message(1)], ANN)[0]?.reacted.length).toBe(20)
})

test("messages without new changes are the same objects, and so is the list", () => {
  const fold = new Fold()
  const [first, second] = [message(1), message(2)]
  const before = fold.shown([first, second], ANN)
  const list = [first, second, message(3)]
  const after = fold.shown(list, ANN)
  expect([after[0], after[1]]).toEqual([before[0], before[1]])
  expect(after[0]).toBe(before[0])
  expect(fold.shown(list, ANN)).toBe(after)
})

test("after a start over only newer changes count", () => {
  const fold = new Fold()
  fold.take(edited(5, "two"))
  fold.clear(0)
  expect(fold.shown([message(1)], ANN)).toMatchObject([{ content: "one", editedAt: null }])
})

test("an older reaction that comes again, or that the server has folded, does not undo a newer one", () => {
  const fold = new Fold()
  fold.clear(4)
  for (const [isOn, seq] of [
    [false, 3],
    [true, 4],
    [false, 5],
    [true, 6],
    [false, 5],
  ] as const)
    fold.take(reacted(ANN, isOn, "+", seq))
  expect(fold.shown([message(1)], ANN)).toMatchObject([{ reacted: [{ reaction: "+", count: 1 }] }])
  const folded = new Fold()
  folded.clear(4)
  folded.take(reacted(ANN, false, "+", 3))
  const before = message(1, { reactions: [{ reaction: "+", count: 1, user_ids: [ANN] }] })
  expect(folded.shown([before], ANN)).toMatchObject([{ reacted: [{ reaction: "+", count: 1 }] }])
})
