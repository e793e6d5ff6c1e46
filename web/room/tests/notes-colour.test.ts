import { expect, it } from "vitest"
import { author, shown } from "../src/notes/colour"

const ADA = "550e8400-e29b-41d4-a716-446655440123"

it("shows an author with the name and a colour that other editors know too", () => {
  const user = author(ADA, "🦉 Ada")
  expect(user).toMatchObject({ id: ADA, name: "Ada" })
  expect(user.color).toMatch(/^#[0-9a-f]{6}$/)
  expect(shown(user, 7)).toMatchObject({ name: "Ada" })
})

it.each([null, undefined, "Ada", { name: 7, id: {} }, { name: "x".repeat(1000), id: "not a UUID" }])(
  "shows something for whatever another editor says: %j",
  (user) => {
    const { name, hue } = shown(user, 725)
    expect(name.length).toBeLessThanOrEqual(64)
    expect(hue).toBe(5)
  },
)
