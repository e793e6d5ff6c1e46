/**
 * Requests over plain HTTP, for earlier messages of a room and for its members. Most sessions need none, so the client
 * loads this file when it needs it. It imports nothing that the client loads at once, so that a page needs no third file
 * for what both share.
 */

import { authorization } from "./authorization.js"
import type { History, StoredMessage } from "./core/history.js"
import type { StudyroomError } from "./error.js"
import type { Identity } from "./identity.js"
import type { ChatPayload, ErrorPayload, UserPresence } from "./protocol.js"
import type { ChatMessage } from "./types.js"

interface Page {
  messages: ChatPayload[]
  before: number | null
}

export class Archive {
  readonly #address: () => URL
  readonly #identity: Pick<Identity, "credentials">
  readonly #ownIds: ReadonlySet<string>
  readonly #Failure: typeof StudyroomError
  #loading: { history: History; page: Promise<readonly ChatMessage[]> } | null = null

  /**
   * `address` returns that of the WebSocket, or throws StudyroomError. `ownIds`: the ids that the user of this client has
   * had. `Failure` is StudyroomError.
   */
  constructor(
    address: () => URL,
    identity: Pick<Identity, "credentials">,
    ownIds: ReadonlySet<string>,
    Failure: typeof StudyroomError,
  ) {
    this.#address = address
    this.#identity = identity
    this.#ownIds = ownIds
    this.#Failure = Failure
  }

  /** `change`: runs a change of the history, so that listeners see it. Rejects with StudyroomError. */
  loadEarlier(
    roomId: string | null,
    history: History,
    count: number,
    change: (work: () => void) => void,
  ): Promise<readonly ChatMessage[]> {
    if (this.#loading?.history === history) return this.#loading.page
    const page = this.#load(roomId, history, count, change).finally(() => {
      if (this.#loading?.page === page) this.#loading = null
    })
    this.#loading = { history, page }
    return page
  }

  /** Rejects with StudyroomError. */
  async roster(roomId: string | null): Promise<UserPresence[]> {
    const { users } = await this.#get<{ users: UserPresence[] }>(roomId, "roster")
    return users
  }

  async #load(
    roomId: string | null,
    history: History,
    count: number,
    change: (work: () => void) => void,
  ): Promise<readonly ChatMessage[]> {
    if (history.whole) return []
    const { round } = history
    const end = history.loading()
    try {
      const query = { limit: String(count), ...(end === null ? {} : { before: String(end) }) }
      const { messages, before } = await this.#get<Page>(roomId, "messages", query)
      let fresh: readonly ChatMessage[] = []
      // Before a list that has started over, there would be a gap.
      if (history.round === round)
        change(() => {
          fresh = history.loaded(
            messages.map((stored) => this.#shown(stored)),
            before,
          )
        })
      return fresh
    } finally {
      history.notLoaded()
    }
  }

  #shown({ user_id: userId, ...stored }: ChatPayload): StoredMessage {
    return { userId, ...stored, own: this.#ownIds.has(userId), state: "sent" }
  }

  /** Rejects with StudyroomError: with the code of the server, or `connection_lost` if it does not answer. */
  async #get<Body>(
    roomId: string | null,
    what: string,
    parameters: Record<string, string> = {},
  ): Promise<Body> {
    const Failure = this.#Failure
    if (roomId === null) throw new Failure("not_in_room", "no room")
    const url = new URL(`api/v1/rooms/${encodeURIComponent(roomId)}/${what}`, this.#address())
    url.protocol = url.protocol.replace("ws", "http")
    const { query, protocols } = await this.#identity.credentials()
    for (const [name, value] of Object.entries({ ...query, ...parameters }))
      if (value) url.searchParams.set(name, value)
    let answer: Response
    let body: unknown
    try {
      answer = await fetch(url, {
        headers: authorization(protocols),
        credentials: "include",
        cache: "no-store",
      })
      body = await answer.json()
    } catch (error) {
      throw new Failure("connection_lost", `the server does not answer: ${error}`, { cause: error })
    }
    if (answer.ok) return body as Body
    const { code, message } = body as ErrorPayload
    throw new Failure(code, message)
  }
}
