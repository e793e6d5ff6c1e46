import { expect, test } from "vitest"
import { Changes, Store } from "../../src/store.js"
import { asStore } from "../../src/stores/index.js"

test("a store calls at once, then with every new value, and not after the end of the subscription", () => {
  const changes = new Changes()
  const value = new Store(changes, 1)
  const seen: number[] = []
  const end = asStore(value).subscribe((one) => seen.push(one))
  changes.run(() => value.set(2))
  end()
  changes.run(() => value.set(3))
  expect(seen).toEqual([1, 2])
})
