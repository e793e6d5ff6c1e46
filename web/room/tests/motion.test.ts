import { expect, it } from "vitest"
import { DELAY_MS, Track } from "../src/board/motion"

const INTERVAL_MS = 50

function moving(): Track {
  const track = new Track()
  for (let step = 0; step <= 4; step++) track.push(step * 0.1, 0.5, 1000 + step * INTERVAL_MS)
  return track
}

it("knows nothing before the first update, and shows the first at once", () => {
  const track = new Track()
  expect(track.spot(1000)).toBeUndefined()
  track.push(0.2, 0.4, 1000)
  expect(track.spot(1000)).toMatchObject({ x: 0.2, y: 0.4 })
})

it("goes evenly through steady updates, a little late", () => {
  const track = moving()
  const shown = [100, 125, 150].map((after) => track.spot(1000 + after)?.x ?? Number.NaN)
  expect(shown[0]).toBeCloseTo(0.05)
  expect(shown[1]).toBeCloseTo(0.1)
  expect(shown[2]).toBeCloseTo(0.15)
})

it("comes to rest exactly where the last update was", () => {
  const track = moving()
  const end = 1000 + 4 * INTERVAL_MS + DELAY_MS
  expect(track.spot(end - 1)?.x).toBeLessThan(0.4)
  expect(track.resting).toBe(false)
  expect(track.spot(end)).toMatchObject({ x: 0.4, y: 0.5 })
  expect(track.resting).toBe(true)
  expect(track.spot(end + 60_000)).toMatchObject({ x: 0.4, y: 0.5 })
})

it("does not jump after a long rest", () => {
  const track = new Track()
  track.push(0, 0, 1000)
  track.spot(5000)
  track.push(1, 1, 60_000)
  expect(track.spot(60_000)?.x).toBeLessThan(0.5)
  expect(track.spot(60_000 + DELAY_MS)?.x).toBe(1)
})

it("never goes back in time", () => {
  const track = moving()
  track.push(0.9, 0.9, 1000)
  expect(track.end).toMatchObject({ x: 0.4 })
})
