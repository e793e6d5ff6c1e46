/** The identity of the user: an access token of the application, or a guest whom the server recognises. */

import { address } from "./address.js"
import { StudyroomError } from "./error.js"
import { page } from "./page.js"
import type { ClientOptions, IdentityStore, Token } from "./types.js"

export class Identity {
  readonly #options: ClientOptions
  readonly #store: IdentityStore | null
  /** Whether the application has given a token. Its user must not become a guest. */
  #signedIn = false
  #guestToken: string | null | undefined

  constructor(options: ClientOptions) {
    this.#options = options
    this.#store = storeFor(options)
  }

  /** Returns the parameters for the address. Rejects with `token_failed` or `no_token`. */
  async query(): Promise<Record<string, string | null | undefined>> {
    const { username } = this.#options
    const access_token = await this.#token()
    if (access_token) {
      this.#signedIn = true
      return { access_token }
    }
    if (this.#signedIn) throw new StudyroomError("no_token", "`token` returned none")
    attempt(() => {
      this.#guestToken ??= this.#store?.get()
    })
    return { username, guest_token: this.#guestToken }
  }

  async #token(): Promise<Token> {
    const { token } = this.#options
    try {
      return await (typeof token === "function" ? token() : token)
    } catch (error) {
      throw new StudyroomError("token_failed", String(error), { cause: error })
    }
  }

  /**
   * Keep the guest token for the next connection. Every connection of a guest returns one, and the server ignores one
   * that is too old.
   */
  welcomed(guestToken: string | null | undefined): void {
    if (!guestToken) return
    this.#guestToken = guestToken
    attempt(() => this.#store?.set(guestToken))
  }

  /** Forget the guest, and that anybody was signed in. */
  forget(): void {
    this.#signedIn = false
    this.#guestToken = null
    attempt(() => this.#store?.set(null))
  }
}

/**
 * The default is a guest for each tab. Other tabs are other guests, and a reload is the same one. Only pages
 * have tabs: in Node, all clients of a process would share the store.
 */
function storeFor({ identity = "tab", url }: ClientOptions): IdentityStore | null {
  if (typeof identity === "object") return identity
  if (identity === "memory" || page.document === undefined) return null
  const area = () => (identity === "browser" ? localStorage : sessionStorage)
  const key = () => `studyroom.guest ${address(url, {}).href}`
  return {
    get: () => area().getItem(key()),
    set: (token) => (token === null ? area().removeItem(key()) : area().setItem(key(), token)),
  }
}

/** Use storage, which may be forbidden or full. A guest is then recognised until the page is closed. */
function attempt(storage: () => void): void {
  try {
    storage()
  } catch {}
}
