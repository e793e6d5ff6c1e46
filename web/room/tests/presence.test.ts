import { expect, it } from "vitest"
import { AWAY, REST_MS, shownUntil } from "../src/board/presence"

it("shows a pointer for a while after its last move, and that of somebody who has left not at all", () => {
  expect(shownUntil({ elementId: null, at: 1000 })).toBe(1000 + REST_MS)
  expect(shownUntil({ elementId: "unknown here", at: 1000 })).toBe(1000 + REST_MS)
  expect(shownUntil({ elementId: AWAY, at: 1000 })).toBeLessThan(1000)
})

it("shows somebody who sits in a place for as long as they sit there", () => {
  expect(shownUntil({ elementId: "focus", at: 1000 })).toBe(Number.POSITIVE_INFINITY)
})
