/** Observable values. Changes that happen together are published together, so listeners see all of them. */

import { Listeners } from "./listeners.js"
import type { Readable } from "./types.js"

export class Changes {
  #depth = 0
  #stores = new Set<{ tell(): void }>()
  #events: (() => void)[] = []

  /** Do something that changes values. Listeners are called at the end of the outermost call. */
  run(work: () => void): void {
    this.#depth += 1
    try {
      work()
    } finally {
      this.#depth -= 1
      if (this.#depth === 0) this.#tell()
    }
  }

  changed(store: { tell(): void }): void {
    this.#stores.add(store)
  }

  /** Call `tell` after the listeners of values. */
  after(tell: () => void): void {
    this.#events.push(tell)
  }

  #tell(): void {
    const [stores, events] = [this.#stores, this.#events]
    this.#stores = new Set()
    this.#events = []
    for (const store of stores) store.tell()
    for (const tell of events) tell()
  }
}

export class Store<T> implements Readable<T> {
  #value: T
  readonly #changes: Changes
  readonly #listeners = new Listeners()
  readonly get = (): T => this.#value
  readonly subscribe = this.#listeners.add
  readonly tell = this.#listeners.tell

  constructor(changes: Changes, value: T) {
    this.#changes = changes
    this.#value = value
  }

  set(value: T): void {
    if (Object.is(value, this.#value)) return
    this.#value = value
    this.#changes.changed(this)
  }
}
