/** A map that may change a thousand times a second, shown as one that changes with the frames of the screen. */

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

  /** Always the newest; a new map only when something changed since the last call. */
  readonly get = (): ReadonlyMap<string, V> => {
    this.#shown ??= new Map(this.#current)
    return this.#shown
  }

  /** Null takes the key away. */
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
    // In a tab that nobody looks at there are no frames, and nobody to be told.
    if (page.requestAnimationFrame) page.requestAnimationFrame(tell)
    else setTimeout(tell, FRAME_MS)
  }
}
