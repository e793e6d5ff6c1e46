import { expect, test } from "vitest"
import { NEVER } from "../../src/core/never.js"
import { OwnTyping } from "../../src/core/own-typing.js"
import { OwnValues } from "../../src/core/own-values.js"
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

test("the newest position goes once more when it is asked for again, and none after it was given up", () => {
  const throttle = new Throttle<number>(50)
  throttle.again()
  expect(throttle.take(0)).toBeNull()
  throttle.put(1)
  expect([throttle.take(100), throttle.take(200)]).toEqual([1, null])
  throttle.again()
  expect(throttle.take(300)).toBe(1)
  throttle.put(null)
  throttle.again()
  expect(throttle.take(400)).toBeNull()
})

test("typing is sent at once, then every few seconds", () => {
  const typing = new OwnTyping()
  const sent = [0, 100, 3999, 4000, 5000, 8000].filter((now) => {
    typing.set(true, now)
    return typing.take(now)
  })
  expect(sent).toEqual([0, 4000, 8000])
})

test("another gateway gets the notice again while it lasts, and only then", () => {
  const typing = new OwnTyping()
  const again = () => {
    typing.again()
    return typing.take(10)
  }
  expect(again()).toBeNull()
  typing.set(true, 0)
  typing.take(0)
  expect([again(), typing.take(10)]).toEqual([true, null])
  typing.set(false, 10)
  typing.take(10)
  expect(again()).toBeNull()
})

test("typing ends with its end, and by itself when no key was pressed for a while", () => {
  const typing = new OwnTyping()
  const set = (isTyping: boolean, now: number) => {
    typing.set(isTyping, now)
    return typing.take(now)
  }
  set(true, 0)
  expect(set(false, 10)).toBe(false)
  expect(set(false, 20)).toBeNull()
  set(true, 1000)
  expect(typing.wakeAt).toBe(7000)
  expect(typing.take(6999)).toBeNull()
  expect(typing.take(7000)).toBe(false)
})

test("outside a room only the name is sent, and in the next room cursor and typing again", () => {
  const own = new OwnValues(50)
  const sent: unknown[] = []
  const poll = (now: number, isInside: boolean) =>
    own.poll(now, isInside, false, (message) => sent.push(message.type)) && sent.splice(0)
  own.name.put("Ann")
  own.cursor.put({ x: 1, y: 2, element_id: null })
  own.typing.set(true, 0)
  expect(poll(0, false)).toEqual(["Rename"])
  expect(poll(0, true)).toEqual(["Typing", "CursorMove"])
  expect(poll(100, true)).toEqual([])
  own.joined()
  expect(poll(200, true)).toEqual(["Typing", "CursorMove"])
  own.left()
  own.joined()
  expect(poll(300, true)).toEqual([])
})
