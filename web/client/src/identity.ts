/** The identity of the user: an access token of the application, or a guest whom the server recognises. */

import { address, type Query } from "./address.js"
import { StudyroomError } from "./error.js"
import { page } from "./page.js"
import type { ClientOptions, IdentityStore, Token } from "./types.js"

/** The server answers with this one, so that the response does not have the token. */
const SUBPROTOCOL = "studyroom"

export interface Credentials {
  /** Parameters for addresses. */
  query: Query
  /** The subprotocols with the token. Absent if there is none, or if it is in `query`. */
  protocols?: string[]
}

export class Identity {
  readonly #options: ClientOptions
  readonly #store: IdentityStore | null
  /** Whether the application has given a token. Its user must not become a guest. */
  #signedIn = false
  #guestToken: string | null | undefined
  /** The name that a guest has taken after the client was made. */
  newName: string | undefined

  constructor(options: ClientOptions) {
    this.#options = options
    this.#store = storeFor(options)
  }

  /** Returns what the server needs to know the user. Rejects as `query` does. */
  async credentials(): Promise<Credentials> {
    const { access_token, guest_token, ...query } = await this.query()
    const token = access_token ?? guest_token
    if (!token) return { query }
    const name = access_token ? "access_token" : "guest_token"
    // The server refuses or ignores a token with other characters. A browser would throw.
    if (this.#options.tokenInAddress || /[^\w.-]/.test(token)) return { query: { ...query, [name]: token } }
    return { query, protocols: [SUBPROTOCOL, `${name}.${token}`] }
  }

  /** Returns the user as parameters of an address. Rejects with `token_failed` or `no_token`. */
  async query(): Promise<Query> {
    const username = this.newName ?? this.#options.username
    const access_token = await this.#token()
    if (access_token) {
      this.#signedIn = true
      return { access_token }
    }
    if (this.#signedIn) throw new StudyroomError("no_token", "no_token")
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
    // An empty token is none.
    set: (token) => area().setItem(key(), token ?? ""),
  }
}

/** Use storage, which may be forbidden or full. A guest is then recognised until the page is closed. */
function attempt(storage: () => void): void {
  try {
    storage()
  } catch {}
}
