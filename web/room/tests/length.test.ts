import fc from "fast-check"
import { expect, it } from "vitest"
import { divided, lengthOf } from "../src/chat/length"

it("counts characters as the server does, in code points", () => {
  expect(lengthOf("a🦊")).toBe(2)
  expect(lengthOf("e\u0301")).toBe(2)
})

it("divides between lines if it can, else between words, else anywhere", () => {
  expect(divided("one two\nthree", 10)).toEqual(["one two", "three"])
  expect(divided("one two three", 10)).toEqual(["one two", "three"])
  expect(divided("abcdefghij", 4)).toEqual(["abcd", "efgh", "ij"])
  expect(divided("🦊🦊🦊", 2)).toEqual(["🦊🦊", "🦊"])
})

it("leaves a text that fits as it is", () => {
  expect(divided(" Hello\n\nthere ", 20)).toEqual(["Hello\n\nthere"])
})

it("loses nothing that can be seen, and makes no part that the server would refuse", () => {
  const texts = fc.array(
    fc.oneof(fc.constantFrom(" ", "\n", "\u200b"), fc.string({ unit: "grapheme", maxLength: 9 })),
  )
  fc.assert(
    fc.property(texts, fc.integer({ min: 1, max: 12 }), (words, longest) => {
      const text = words.join("")
      const parts = divided(text, longest)
      for (const part of parts) {
        expect(lengthOf(part)).toBeLessThanOrEqual(longest)
        expect(part.trim()).not.toBe("")
      }
      const visible = (shown: string) => shown.replace(/[\s\u200b]/g, "")
      expect(visible(parts.join(""))).toBe(visible(text))
    }),
  )
})
