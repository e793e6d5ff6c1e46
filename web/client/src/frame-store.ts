/** A map that may change a thousand times a second. Subscribers see it change once per frame of the screen. */

import { Listeners } from "./listeners.js"
import { page } from "./page.js"
import type { Readable } from "./types.js"

const FRAME_MS = 16

export class FrameStore<V> implements Readable<ReadonlyMap<string, V>> {
  readonly #current = new Map<string, V>()
  #shown: ReadonlyMap<string, V> | null = new Map()
  #scheduled = false
  readonly #listeners = new Listeners()
  readonly subscribe = this.#listeners.add

  /** Returns the newest values, in a new map only if something changed since the last call. */
  readonly get = (): ReadonlyMap<string, V> => {
    this.#shown ??= new Map(this.#current)
    return this.#shown
  }

  /** Set the value of a key, or delete the key if the value is null. */
  put(key: string, value: V | null): void {
    if (value !== null) this.#current.set(key, value)
    else if (!this.#current.delete(key)) return
    this.#changed()
  }

  clear(): void {
    this.#current.clear()
    this.#changed()
  }

  #changed(): void {
    this.#shown = null
    if (this.#scheduled) return
    this.#scheduled = true
    const tell = () => {
      this.#scheduled = false
      this.#listeners.tell()
    }
    // A hidden tab has no frames, and nobody sees it.
    if (page.requestAnimationFrame) page.requestAnimationFrame(tell)
    else setTimeout(tell, FRAME_MS)
  }
}
