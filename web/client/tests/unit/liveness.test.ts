import { expect, test } from "vitest"
import { Liveness } from "../../src/core/liveness.js"

const newLiveness = () => new Liveness(0, { intervalMs: 15_000, timeoutMs: 8000 })

test("a peer that sends something is not pinged", () => {
  const liveness = newLiveness()
  liveness.heard(14_000)
  expect(liveness.poll(15_000)).toBe("alive")
  expect(liveness.wakeAt).toBe(29_000)
})

test("a silent peer is pinged, and is dead when it does not answer in time", () => {
  const liveness = newLiveness()
  expect(liveness.poll(15_000)).toBe("ask")
  expect(liveness.poll(22_999)).toBe("alive")
  expect(liveness.poll(23_000)).toBe("dead")
})

test("a peer that answers is alive", () => {
  const liveness = newLiveness()
  liveness.poll(15_000)
  liveness.heard(15_100)
  expect(liveness.poll(23_000)).toBe("alive")
})

test("after a suspicion the peer is pinged at once, but not twice", () => {
  const liveness = newLiveness()
  liveness.doubt(1000)
  expect(liveness.poll(1000)).toBe("ask")
  liveness.doubt(2000)
  expect(liveness.poll(2000)).toBe("alive")
  expect(liveness.poll(9000)).toBe("dead")
})

test("a timer that rings far too late proves nothing: the peer is pinged once more, and only once", () => {
  const liveness = newLiveness()
  liveness.poll(15_000)
  expect(liveness.poll(80_000)).toBe("ask")
  expect(liveness.poll(140_000)).toBe("dead")
})
