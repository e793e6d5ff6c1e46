import { expect, test } from "vitest"
import { Refusals } from "../../src/core/refusals.js"

const unauthorized = { code: "unauthorized" as const, message: "" }

test("only the first failure after a good connection needs no explanation", () => {
  const refusals = new Refusals(false)
  expect(refusals.failed()).toBe(true)
  refusals.accepted()
  expect([refusals.failed(), refusals.failed()]).toEqual([false, true])
})

test.each(["banned", "origin_not_allowed", "host_not_allowed"] as const)("%s is final", (code) => {
  expect(new Refusals(true).isFinal({ code, message: "" })).toBe(true)
})

test.each(["draining", "too_many_of_user", "keys_unavailable"] as const)("%s may pass", (code) => {
  expect(new Refusals(false).isFinal({ code, message: "" })).toBe(false)
})

test("a fixed token is refused once, and a renewed one three times in a row", () => {
  expect(new Refusals(false).isFinal(unauthorized)).toBe(true)
  const renewing = new Refusals(true)
  expect([1, 2, 3].map(() => renewing.isFinal(unauthorized))).toEqual([false, false, true])
  renewing.accepted()
  expect(renewing.isFinal(unauthorized)).toBe(false)
})
