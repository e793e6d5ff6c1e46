import { expect, test, vi } from "vitest"
import { FrameStore } from "../../src/frame-store.js"
import { Changes, Store } from "../../src/store.js"

test("a listener of one value sees all of them", () => {
  const changes = new Changes()
  const [a, b] = [new Store(changes, 0), new Store(changes, 0)]
  const seen: [number, number][] = []
  a.subscribe(() => seen.push([a.get(), b.get()]))
  changes.run(() => {
    a.set(1)
    b.set(1)
  })
  expect(seen).toEqual([[1, 1]])
})

test("a value that stays the same notifies nobody", () => {
  const changes = new Changes()
  const store = new Store(changes, 1)
  const listener = vi.fn()
  store.subscribe(listener)
  changes.run(() => store.set(1))
  expect(listener).not.toHaveBeenCalled()
})

test("a listener that throws keeps no other from its notification", () => {
  vi.useFakeTimers()
  const changes = new Changes()
  const store = new Store(changes, 0)
  const listener = vi.fn()
  store.subscribe(() => {
    throw new Error("of the application")
  })
  store.subscribe(listener)
  changes.run(() => store.set(1))
  expect(listener).toHaveBeenCalledOnce()
  expect(() => vi.runAllTimers()).toThrow("of the application")
  vi.useRealTimers()
})

test("many changes in one frame notify once, and the newest can be read at any time", () => {
  vi.useFakeTimers()
  const store = new FrameStore<number>()
  const listener = vi.fn()
  store.subscribe(listener)
  for (let value = 0; value < 100; value += 1) store.put("a", value)
  const shown = store.get()
  expect(shown.get("a")).toBe(99)
  expect(store.get()).toBe(shown)
  vi.runAllTimers()
  expect(listener).toHaveBeenCalledOnce()
  vi.useRealTimers()
})
