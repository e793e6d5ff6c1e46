import { expect, test } from "vitest"
import { hintedWait, reconnects } from "../../src/core/close-codes.js"

test.each([1001, 1005, 1006, 1011, 1012, 1013, 4000, 4001, 4002, 4003, 4499, 3000, 5000])(
  "%i asks to come back",
  (code) => {
    expect(reconnects(code)).toBe(true)
  },
)

test.each([1000, 1002, 1003, 1007, 1009, 4500, 4501, 4999])("%i asks to stay away", (code) => {
  expect(reconnects(code)).toBe(false)
})

test("a gateway that stops says how long to wait", () => {
  expect(hintedWait(1012, "reconnect_after_ms=1234")).toBe(1234)
})

test("a close without a hint has none", () => {
  expect(hintedWait(1012, "bye")).toBeNull()
  expect(hintedWait(1001, "reconnect_after_ms=1234")).toBeNull()
})
