import { expect, it } from "vitest"
import { duty, isNewer, isStamped, newest, type Stamped } from "../src/record/record"

const NOW = 1_800_000_000_000
const record = (at: number, value = "x"): Stamped => ({ at, value }) as Stamped

it("counts no record without a time, and none from the future, which would win for ever", () => {
  expect(isStamped({ at: NOW }, NOW)).toBe(true)
  for (const value of [undefined, null, 7, [], {}, { at: "1" }, { at: Number.NaN }, { at: NOW + 120_000 }])
    expect(isStamped(value, NOW)).toBe(false)
})

it("takes the newest one, and the same one of two that were written at the same time", () => {
  const [old, young] = [record(NOW - 5), record(NOW)]
  expect(newest([old, null, young])).toBe(young)
  expect(newest([])).toBeNull()
  const [one, other] = [record(NOW, "a"), record(NOW, "b")]
  expect(newest([one, other])).toBe(newest([other, one]))
  expect(isNewer(one, { ...one })).toBe(false)
})

it("is taken over when its holder has left, by one member after the other", () => {
  const known = record(NOW)
  const nobody = new Map<string, Stamped | null>([
    ["a", null],
    ["c", record(NOW - 9)],
  ])
  expect(duty(known, true, null, "b", nobody)).toEqual({ type: "take over", inMs: 2000 })
  expect(duty(known, true, null, "0", nobody)).toEqual({ type: "take over", inMs: 0 })
  const held = new Map(nobody).set("d", { ...known })
  for (const [lives, own, others] of [
    [true, null, held],
    [true, { ...known }, nobody],
    [false, null, nobody],
  ] as const)
    expect(duty(known, lives, own, "b", others)).toEqual({ type: "none" })
  expect(duty(null, false, null, "b", nobody)).toEqual({ type: "none" })
})

it("is dropped by a member when there is a newer one, so that it does not come back", () => {
  expect(duty(record(NOW + 1), false, record(NOW), "a", new Map())).toEqual({ type: "drop" })
})
