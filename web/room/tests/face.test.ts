import { expect, it } from "vitest"
import { face, hue, named } from "../src/face"

it.each([
  ["Ada Lovelace", "Ada Lovelace", "AL"],
  ["ada", "ada", "A"],
  ["Ana Maria da Silva", "Ana Maria da Silva", "AS"],
  ["Łukasz Żak", "Łukasz Żak", "ŁŻ"],
  ["🦊 Ada Lovelace", "Ada Lovelace", "🦊"],
  ["👩🏽‍🔬 Marie", "Marie", "👩🏽‍🔬"],
  ["🦊", "🦊", "?"],
  ["<b>", "<b>", "?"],
  ["7 of 9", "7 of 9", "79"],
])("draws %s as %s with the sign %s", (username, name, sign) => {
  expect(face(username)).toMatchObject({ name, sign })
})

it("reads back the emoji that somebody chose", () => {
  expect(face(named("Ada", "🐢"))).toEqual({ name: "Ada", sign: "🐢", isEmoji: true })
  expect(named("Ada", "")).toBe("Ada")
  expect(named("", "🐢")).toBe("")
})

it("gives everybody a colour that stays", () => {
  expect(hue("550e8400-e29b-41d4-a716-446655440000")).toBe(hue("550e8400-e29b-41d4-a716-446655440000"))
  for (let index = 0; index < 100; index++) expect(hue(crypto.randomUUID())).toBeLessThan(360)
})
