import { expect, it } from "vitest"
import { inWords, isRunning, isShown, type Timer, timerOf } from "../src/timer/timer"

const NOW = 1_800_000_000_000
const focus = (at: number, minutes = 25): Timer => ({ at, kind: "focus", until: at + minutes * 60_000 })
const stopped = (at: number): Timer => ({ at, kind: "stopped", until: at })

it("takes a timer from a presence, and nothing that is not one", () => {
  const timer = focus(NOW)
  expect(timerOf({ ...timer, more: 1 }, NOW)).toEqual(timer)
  const wrong = [
    undefined,
    7,
    { ...timer, kind: "nap" },
    { ...timer, at: "1" },
    { ...timer, until: Number.NaN },
    { ...timer, until: timer.at - 1 },
    focus(NOW, 241),
    focus(NOW + 120_000),
  ]
  for (const value of wrong) expect(timerOf(value, NOW)).toBeNull()
})

it("runs until its time, and is shown for a minute more, but not when somebody has stopped it", () => {
  const timer = focus(NOW)
  expect(isRunning(timer, timer.until - 1)).toBe(true)
  expect(isRunning(timer, timer.until)).toBe(false)
  expect(isShown(timer, timer.until + 59_999)).toBe(true)
  expect(isShown(timer, timer.until + 60_000)).toBe(false)
  for (const state of [isRunning, isShown]) expect(state(stopped(NOW), NOW)).toBe(false)
})

it.each([
  [0, "0:00"],
  [-5, "0:00"],
  [1, "0:01"],
  [59_001, "1:00"],
  [3_600_000, "60:00"],
])("shows %i ms as %s", (left, words) => {
  expect(inWords(left)).toBe(words)
})
