import { expect, test } from "vitest"
import { checkEvent, checkFields } from "../../src/core/names.js"

test.each(["a", "reaction.sent", "A_1:b-c", "x".repeat(64)])("%s is the name of an event", (event) => {
  expect(() => checkEvent(event, undefined)).not.toThrow()
})

test.each(["", "1", ".a", "two words", "é", "a\n", "x".repeat(65)])(
  "%j is not the name of an event",
  (event) => {
    expect(() => checkEvent(event, undefined)).toThrow(TypeError)
  },
)

test("keys and the names of fields have a bounded length, in characters", () => {
  expect(() => checkEvent("a", "😀".repeat(128))).not.toThrow()
  expect(() => checkEvent("a", "😀".repeat(129))).toThrow(TypeError)
  expect(() => checkEvent("a", "")).toThrow(TypeError)
  expect(() => checkFields({ ["é".repeat(64)]: 1 })).not.toThrow()
  expect(() => checkFields({ ["é".repeat(65)]: 1 })).toThrow(TypeError)
  expect(() => checkFields({ "": 1 })).toThrow(TypeError)
})
