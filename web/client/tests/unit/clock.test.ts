import { expect, test } from "vitest"
import { steadyClock } from "../../src/clock.js"

function clockOver(readings: [date: number, uptime: number][]): number[] {
  let [date, uptime] = [0, 0]
  const now = steadyClock(
    () => date,
    () => uptime,
  )
  return readings.map((reading) => {
    ;[date, uptime] = reading
    return now()
  })
}

test("a clock that is set back does not take the time back", () => {
  expect(
    clockOver([
      [1000, 1000],
      [-3_600_000, 2000],
      [-3_599_000, 3000],
    ]),
  ).toEqual([1000, 2000, 3000])
})

test("the time that the machine slept counts", () => {
  expect(
    clockOver([
      [1000, 1000],
      [601_000, 1000],
      [602_000, 2000],
    ]),
  ).toEqual([1000, 601_000, 602_000])
})

test("reading it often does not make it fast, although one of the clocks counts in whole milliseconds", () => {
  const readings = Array.from({ length: 1001 }, (_, index): [number, number] => [
    Math.floor(index * 0.4),
    index * 0.4,
  ])
  expect(clockOver(readings).at(-1)).toBeCloseTo(400)
})
