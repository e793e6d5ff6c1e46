import { expect, test } from "vitest"
import { isBlank } from "../../src/core/blank.js"

test.each([
  ["nothing", ""],
  ["spaces", " \n\t\u00a0\u3000"],
  ["zero width space", "\u200b"],
  ["word joiner", "\u2060"],
  ["Hangul filler", "\u3164"],
  ["braille blank", "\u2800"],
  ["variation selector", "\ufe0f"],
  ["tags", "\u{e0067}\u{e007f}"],
  ["controls", "\u0000\u0085"],
  ["musical blank", "\u{1d159}"],
])("%s cannot be seen", (_name, text) => {
  expect(isBlank(text)).toBe(true)
  expect(isBlank(`${text}.${text}`)).toBe(false)
})

test.each([".", "\u0301", "\u2764\ufe0f", "\u{1fa77}", "\ufffc", "\ud800"])("%j can be seen", (text) => {
  expect(isBlank(text)).toBe(false)
})
