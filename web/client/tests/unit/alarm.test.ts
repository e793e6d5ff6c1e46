import { afterEach, beforeEach, expect, test, vi } from "vitest"
import { Alarm } from "../../src/alarm.js"
import { NEVER } from "../../src/core/never.js"

const DAY_MS = 24 * 3_600_000

beforeEach(() => {
  vi.useFakeTimers({ now: 0 })
})

afterEach(() => {
  vi.useRealTimers()
})

/** Returns the lengths of the timers that an alarm sets until it rings at `at`. */
function timersUntil(at: number): number[] {
  const set = vi.spyOn(globalThis, "setTimeout")
  let rings = 0
  const alarm: Alarm = new Alarm(Date.now, () => {
    rings += 1
    if (Date.now() < at) alarm.set(at)
  })
  alarm.set(at)
  while (Date.now() < at) vi.advanceTimersToNextTimer()
  expect(rings).toBe(set.mock.calls.length)
  return set.mock.calls.map(([, delay]) => delay as number)
}

test("an alarm rings at its time", () => {
  expect(timersUntil(1000)).toEqual([1000])
})

test("an alarm that is months away sets no timer that would ring at once", () => {
  const timers = timersUntil(60 * DAY_MS)
  expect(timers).toHaveLength(3)
  expect(Math.max(...timers)).toBeLessThan(2 ** 31)
})

test("an alarm that never rings sets no timer", () => {
  const set = vi.spyOn(globalThis, "setTimeout")
  new Alarm(Date.now, () => undefined).set(NEVER)
  expect(set).not.toHaveBeenCalled()
})
