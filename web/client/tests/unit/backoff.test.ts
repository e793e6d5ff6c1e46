import { expect, test } from "vitest"
import { backoff } from "../../src/core/backoff.js"

const OPTIONS = { baseMs: 500, capMs: 20_000 }
const longest = (failures: number) => backoff(failures, OPTIONS, () => 1)

test("the longest wait doubles with every failure until the cap", () => {
  expect([0, 1, 2, 3, 4, 5, 6, 60].map(longest)).toEqual([
    500, 1000, 2000, 4000, 8000, 16_000, 20_000, 20_000,
  ])
})

test("the jitter is over all of the wait also at the cap", () => {
  const waits = [0, 0.25, 0.5, 0.999].map((random) => backoff(99, OPTIONS, () => random))
  expect(waits).toEqual([0, 5000, 10_000, 19_980])
})
