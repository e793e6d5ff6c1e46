import { expect, test } from "vitest"
import { NEVER } from "../../src/core/never.js"
import { OwnTyping } from "../../src/core/own-typing.js"
import { Throttle } from "../../src/core/throttle.js"

test("the first of many positions goes at once and then the last of each interval", () => {
  const throttle = new Throttle<number>(50)
  const taken: [number, number][] = []
  for (let now = 0; now <= 120; now += 10) {
    if (now <= 80) throttle.put(now)
    const value = throttle.take(now)
    if (value !== null) taken.push([now, value])
  }
  expect(taken).toEqual([
    [0, 0],
    [50, 50],
    [100, 80],
  ])
  expect(throttle.wakeAt).toBe(NEVER)
})

test("typing is sent at once, then every few seconds", () => {
  const typing = new OwnTyping()
  const sent = [0, 100, 3999, 4000, 5000, 8000].filter((now) => typing.set(true, now))
  expect(sent).toEqual([0, 4000, 8000])
})

test("another gateway gets the notice again while it lasts, and only then", () => {
  const typing = new OwnTyping()
  expect(typing.again).toBeNull()
  typing.set(true, 0)
  expect(typing.again).toBe(true)
  typing.set(false, 10)
  expect(typing.again).toBeNull()
})

test("typing ends with its end, and by itself when no key was pressed for a while", () => {
  const typing = new OwnTyping()
  typing.set(true, 0)
  expect(typing.set(false, 10)).toBe(false)
  expect(typing.set(false, 20)).toBeNull()
  typing.set(true, 1000)
  expect(typing.wakeAt).toBe(7000)
  expect(typing.poll(6999)).toBeNull()
  expect(typing.poll(7000)).toBe(false)
})
