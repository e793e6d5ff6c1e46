/** Values of the client for frameworks that know stores, such as Svelte. */

import type { Readable } from "../types.js"

/** A store as Svelte has it: `subscribe` calls `run` with the present value at once, and then with every new one. */
export interface ValueStore<T> {
  /** Returns a function that ends the subscription. */
  subscribe(run: (value: T) => void): () => void
}

/** Returns a value of the client as a store: in Svelte, `const others = asStore(client.others)` and then `$others`. */
export function asStore<T>(readable: Readable<T>): ValueStore<T> {
  return {
    subscribe(run) {
      run(readable.get())
      return readable.subscribe(() => run(readable.get()))
    },
  }
}
