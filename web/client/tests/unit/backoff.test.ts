import { expect, test, vi } from "vitest"
import { backoff } from "../../src/core/backoff.js"

const random = vi.spyOn(Math, "random")

function wait(failures: number, share: number): number {
  random.mockReturnValueOnce(share)
  return backoff(failures, { baseMs: 500, capMs: 20_000 })
}

test("the longest wait doubles with every failure until the cap", () => {
  expect([0, 1, 2, 3, 4, 5, 6, 60].map((failures) => wait(failures, 1))).toEqual([
    500, 1000, 2000, 4000, 8000, 16_000, 20_000, 20_000,
  ])
})

test("the jitter is over all of the wait also at the cap", () => {
  const waits = [0, 0.25, 0.5, 0.999].map((share) => wait(99, share))
  expect(waits).toEqual([0, 5000, 10_000, 19_980])
})
