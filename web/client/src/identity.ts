/** Who connects: by a token of the application, or as a guest that the server knows again. */

import type { ClientOptions, IdentityStore } from "./types.js"

export class Identity {
  readonly #options: ClientOptions
  readonly #guest: IdentityStore

  constructor(options: ClientOptions) {
    this.#options = options
    this.#guest = options.identity ?? inMemory()
  }

  /** What to connect with. Rejects as the application's callback does. */
  async query(): Promise<Record<string, string | null | undefined>> {
    const { token, username } = this.#options
    const access_token = await (typeof token === "function" ? token() : token)
    return access_token ? { access_token } : { username, guest_token: this.#guest.get() }
  }

  /** Each connection of a guest gives a token for the next one; an old one is no harm, since it is ignored. */
  welcomed(guestToken: string | null | undefined): void {
    if (guestToken) this.#guest.set(guestToken)
  }
}

function inMemory(): IdentityStore {
  let kept: string | null = null
  return {
    get: () => kept,
    set: (token) => {
      kept = token
    },
  }
}
