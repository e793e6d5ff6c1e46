import { expect, test } from "vitest"
import { merged, OwnPresence } from "../../src/core/presence.js"

const LATER = 1_000

test("a change replaces and deletes whole fields, and keeps the object if nothing changes", () => {
  const fields = { a: { x: 1 }, b: 2 }
  expect(merged(fields, { a: { y: 3 }, b: null, c: 0 })).toEqual({ a: { y: 3 }, c: 0 })
  expect(merged(fields, { a: { x: 1 } })).toBe(fields)
  expect(merged(fields, { other: null })).toBe(fields)
})

test("changes are sent together, the first one at once", () => {
  const own = new OwnPresence()
  own.update({ a: 1 })
  expect(own.take(0)).toEqual({ a: 1 })
  own.update({ a: 2, b: 1 })
  own.update({ b: null, c: undefined })
  expect(own.take(10)).toBeNull()
  expect(own.wakeAt).toBeGreaterThan(10)
  expect(own.take(LATER)).toEqual({ a: 2, b: null, c: null })
  expect(own.take(2 * LATER)).toBeNull()
})

test("fields are shown before they are stored", () => {
  const own = new OwnPresence()
  own.update({ a: 1, b: null })
  const shown = own.shown({ b: 2, c: 3 }, {})
  expect(shown).toEqual({ c: 3, a: 1 })
  expect(own.shown({ b: 2, c: 3 }, shown)).toBe(shown)
})

test("after a join the client sends the fields that the server does not have", () => {
  const own = new OwnPresence()
  own.update({ a: 1, b: [2], c: null })
  own.take(0)
  own.joined({ a: 1, b: [2], other: 4 })
  expect(own.take(LATER)).toBeNull()
  own.joined({ b: [3], c: 5 })
  expect(own.take(2 * LATER)).toEqual({ a: 1, b: [2], c: null })
})

test("a newer value of another tab is not overwritten after a join", () => {
  const own = new OwnPresence()
  own.update({ a: 1 })
  own.take(0)
  own.changed({ a: 1 })
  own.changed({ a: 2, b: 3 })
  own.joined({ a: 2, b: 3 })
  expect(own.take(LATER)).toBeNull()
  expect(own.shown({ a: 2, b: 3 }, {})).toEqual({ a: 2, b: 3 })
})

test("fields that the server has refused are not shown any more and not sent again", () => {
  const own = new OwnPresence()
  own.update({ a: 1, large: "x" })
  own.take(0)
  own.update({ b: 2 })
  own.refused({ a: 1 })
  expect(own.shown({ a: 1 }, {})).toEqual({ a: 1, b: 2 })
  expect(own.take(LATER)).toEqual({ b: 2 })
  own.joined({ a: 1, b: 2 })
  expect(own.take(2 * LATER)).toBeNull()
})

test("a change that is not sent yet is newer than one that arrives", () => {
  const own = new OwnPresence()
  own.update({ a: 1 })
  own.changed({ a: 2 })
  expect(own.shown({ a: 2 }, {})).toEqual({ a: 1 })
  expect(own.take(0)).toEqual({ a: 1 })
})
