/** Who connects: by a token of the application, or as a guest that the server knows again. */

import type { ClientOptions, IdentityStore } from "./types.js"

const ENOUGH = 2

export class Identity {
  readonly #token: ClientOptions["token"]
  readonly #username: string | undefined
  readonly #guest: IdentityStore
  /** Handshakes in a row that failed with the guest's token although the server could be reached. */
  #refused = 0

  constructor({ token, username, identity = inMemory() }: ClientOptions) {
    this.#token = token
    this.#username = username
    this.#guest = identity
  }

  /** What to connect with. Rejects as the application's callback does. */
  async query(): Promise<{ access_token: string | null; username: string | undefined }> {
    const token = await (typeof this.#token === "function" ? this.#token() : this.#token)
    return { access_token: token || this.#guest.get(), username: this.#username }
  }

  welcomed(guestToken: string | null | undefined): void {
    this.#refused = 0
    if (guestToken) this.#guest.set(guestToken)
  }

  /**
   * A handshake came to nothing, and a browser does not say why. If it was refused for the guest's token, that one is
   * forgotten: the server is asked over HTTP, with the same token. From another origin the answer cannot be read, only
   * that there is one.
   */
  async refused(socket: URL): Promise<void> {
    const token = socket.searchParams.get("access_token")
    if (token === null || token !== this.#guest.get() || typeof fetch === "undefined") return
    const answer = await fetch(askedWith(socket, token), { mode: "no-cors", cache: "no-store" }).catch(
      () => null,
    )
    this.#refused = answer?.status === 0 ? this.#refused + 1 : 0
    if (answer?.status !== 401 && this.#refused < ENOUGH) return
    this.#refused = 0
    if (token === this.#guest.get()) this.#guest.set(null)
  }
}

/** A request that who may connect may make; `/api` is where `/ws` is. */
function askedWith(socket: URL, token: string): URL {
  const url = new URL("api/v1/rooms?limit=1", socket)
  url.protocol = socket.protocol.replace("ws", "http")
  url.searchParams.set("access_token", token)
  return url
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
