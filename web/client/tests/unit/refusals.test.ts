import { expect, test } from "vitest"
import { isFinal } from "../../src/refusal.js"

const unauthorized = { code: "unauthorized" as const, message: "" }

test.each(["banned", "origin_not_allowed", "host_not_allowed"] as const)("%s is final", (code) => {
  expect(isFinal({ code, message: "" }, { unauthorized: 0 }, true)).toBe(true)
})

test.each(["draining", "too_many_of_user", "keys_unavailable"] as const)("%s may pass", (code) => {
  expect(isFinal({ code, message: "" }, { unauthorized: 0 }, false)).toBe(false)
})

test("a fixed token is refused once, and a renewed one three times in a row", () => {
  expect(isFinal(unauthorized, { unauthorized: 0 }, false)).toBe(true)
  const failures = { unauthorized: 0 }
  expect([1, 2, 3].map(() => isFinal(unauthorized, failures, true))).toEqual([false, false, true])
})
