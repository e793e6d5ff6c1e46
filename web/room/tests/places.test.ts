import { expect, it } from "vitest"
import { places } from "../src/hooks"
import { PLACES, placeOf, spotIn } from "../src/places"

it("is another map only when somebody sits down elsewhere", () => {
  let cursors = new Map([["ada", { elementId: "focus" as string | null }]])
  const { get } = places({ get: () => cursors, subscribe: () => () => {} })
  const first = get()
  expect(first).toEqual(new Map([["ada", "focus"]]))

  cursors = new Map([
    ["ada", { elementId: "focus" }],
    ["grace", { elementId: null }],
    ["x", { elementId: "moon" }],
  ])
  expect(get()).toBe(first)
  cursors = new Map([["ada", { elementId: "break" }]])
  expect(get()).toEqual(new Map([["ada", "break"]]))
})

it("seats everybody inside of their place", () => {
  for (const place of PLACES) {
    expect(placeOf(place.id)).toBe(place)
    for (let index = 0; index < 50; index++) {
      const { x, y } = spotIn(place, crypto.randomUUID())
      expect(x > 0.5).toBe(place.x > 0.5)
      expect(y > 0.5).toBe(place.y > 0.5)
    }
  }
})
