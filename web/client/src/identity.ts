/** Who connects: by a token of the application, or as a guest that the server knows again. */

import type { ClientOptions } from "./types.js"

export class Identity {
  readonly #options: ClientOptions
  #guestToken: string | null | undefined

  constructor(options: ClientOptions) {
    this.#options = options
  }

  /** What to connect with. Rejects as the application's callback does. */
  async query(): Promise<Record<string, string | null | undefined>> {
    const { token, username, identity } = this.#options
    const access_token = await (typeof token === "function" ? token() : token)
    if (access_token) return { access_token }
    attempt(() => {
      this.#guestToken ??= identity?.get()
    })
    return { username, guest_token: this.#guestToken }
  }

  /** Each connection of a guest gives a token for the next one. One that is too old does no harm: it is ignored. */
  welcomed(guestToken: string | null | undefined): void {
    if (!guestToken) return
    this.#guestToken = guestToken
    attempt(() => this.#options.identity?.set(guestToken))
  }
}

/** Storage may be forbidden or full; then a guest is known for as long as the page is there. */
function attempt(storage: () => void): void {
  try {
    storage()
  } catch {}
}
