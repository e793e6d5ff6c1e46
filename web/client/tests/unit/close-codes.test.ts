import { expect, test } from "vitest"
import { hintedRoom, hintedWait, reconnects } from "../../src/core/close-codes.js"

test.each([1001, 1005, 1006, 1011, 1012, 1013, 4000, 4001, 4002, 4003, 4499, 3000, 5000])(
  "%i asks to come back",
  (code) => {
    expect(reconnects(code)).toBe(true)
  },
)

test.each([1000, 1002, 1003, 1007, 1009, 4500, 4501, 4999])("%i asks to stay away", (code) => {
  expect(reconnects(code)).toBe(false)
})

test("a gateway that stops sends how long to wait", () => {
  expect(hintedWait(1012, "reconnect_after_ms=1234")).toBe(1234)
})

test("a close without a hint has none", () => {
  expect(hintedWait(1012, "bye")).toBeNull()
  expect(hintedWait(1001, "reconnect_after_ms=1234")).toBeNull()
})

test("a gateway that asks to move says what to name in the address", () => {
  const hint = "0a1b2c3d-4e5f-4678-9abc-def012345678"
  const reason = `reconnect_after_ms=1234 room_hint=${hint}`
  expect(hintedWait(1012, reason)).toBe(1234)
  expect(hintedRoom(1012, reason)).toBe(hint)
  expect(hintedRoom(1012, "reconnect_after_ms=1234")).toBeNull()
  expect(hintedRoom(4000, reason)).toBeNull()
})
