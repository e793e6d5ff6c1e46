import { expect, test } from "vitest"
import { begun, completed, matching, mentionsIn, split } from "../src/chat/living/mentions"

const PEOPLE = [
  { userId: "1", name: "Ada" },
  { userId: "2", name: "Ada Lovelace" },
  { userId: "3", name: "Émilie du Châtelet" },
  { userId: "4", name: "Ada" },
]

test.each([
  ["@", { start: 0, query: "" }],
  ["hello @Ad", { start: 6, query: "Ad" }],
  ["(@émi", { start: 1, query: "émi" }],
  ["ada@example", null],
  ["@Ada ", null],
  ["hello", null],
])("what is written at the end of %j is a mention that begins, or none", (text, mention) => {
  expect(begun(text, text.length)).toEqual(mention)
})

test("only what is before the caret counts", () => {
  expect(begun("@Ad and more", 3)).toEqual({ start: 0, query: "Ad" })
  expect(begun("@Ad and more", 12)).toBeNull()
})

test("people are suggested by the beginning of any word of their names, in any case, and six at most", () => {
  expect(matching("LOVE", PEOPLE).map(({ userId }) => userId)).toEqual(["2"])
  expect(matching("châ", PEOPLE).map(({ userId }) => userId)).toEqual(["3"])
  expect(matching("da", PEOPLE)).toEqual([])
  const many = Array.from({ length: 9 }, (_, number) => ({ userId: String(number), name: `Ada ${number}` }))
  expect(matching("", many)).toEqual(many.slice(0, 6))
})

test("a chosen name replaces what was written of it, with one space after it", () => {
  expect(completed("hello @Ad", 6, 9, "Ada")).toEqual({ text: "hello @Ada ", caret: 11 })
  expect(completed("@Ad and Bob", 0, 3, "Ada")).toEqual({ text: "@Ada and Bob", caret: 5 })
})

test("the longest name counts, and of people with one name the first", () => {
  expect(mentionsIn("@Ada Lovelace and @Ada, @Ada", PEOPLE)).toEqual(["2", "1"])
})

test("no part of a longer word or of an address is a mention", () => {
  expect(mentionsIn("ada@Ada.example, @Adamant, @AdaÉ, x@Ada", PEOPLE)).toEqual([])
  expect(mentionsIn("(@Ada) @Ada's", PEOPLE)).toEqual(["1"])
})

test("a text mentions twenty people at most", () => {
  const many = Array.from({ length: 30 }, (_, number) => ({ userId: String(number), name: `P${number}.` }))
  const text = many.map(({ name }) => `@${name}`).join(" ")
  expect(mentionsIn(text, many)).toEqual(many.slice(0, 20).map(({ userId }) => userId))
})

test("a text is divided without losing any of it", () => {
  const text = "hello @Ada Lovelace, @nobody and @Ada"
  const parts = split(text, ["Ada", "", "Ada Lovelace"])
  expect(parts).toEqual([
    { text: "hello " },
    { text: "@Ada Lovelace", name: "Ada Lovelace" },
    { text: ", @nobody and " },
    { text: "@Ada", name: "Ada" },
  ])
  expect(parts.map((part) => part.text).join("")).toBe(text)
})
