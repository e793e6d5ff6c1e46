/** Requests over plain HTTP, for earlier messages of a room and for its members. */

import { httpAddress } from "./address.js"
import type { History, StoredMessage } from "./core/history.js"
import { updated } from "./core/roster.js"
import { StudyroomError } from "./error.js"
import type { Identity } from "./identity.js"
import { rejected } from "./outcome.js"
import type { ChatPayload, ErrorPayload, UserPresence } from "./protocol.js"
import type { ChatMessage, Member } from "./types.js"

const NO_ROOM = ["not_in_room", "no room is wanted: join one first"] as const

export class Archive {
  readonly #url: string | URL
  readonly #identity: Identity
  readonly #ownIds: ReadonlySet<string>
  #loading: { history: History; page: Promise<readonly ChatMessage[]> } | null = null

  constructor(url: string | URL, identity: Identity, ownIds: ReadonlySet<string>) {
    this.#url = url
    this.#identity = identity
    this.#ownIds = ownIds
  }

  /** `change`: runs a change of the history, so that listeners see it. */
  loadEarlier(
    roomId: string | null,
    history: History,
    count: number,
    change: (work: () => void) => void,
  ): Promise<readonly ChatMessage[]> {
    if (roomId === null) return rejected(...NO_ROOM)
    if (this.#loading?.history === history) return this.#loading.page
    const page = this.#load(roomId, history, count, change).finally(() => {
      if (this.#loading?.page === page) this.#loading = null
    })
    this.#loading = { history, page }
    page.catch(() => {})
    return page
  }

  async getRoster(roomId: string | null): Promise<readonly Member[]> {
    if (roomId === null) return rejected(...NO_ROOM)
    const { users } = await this.#get<{ users: UserPresence[] }>(roomId, "roster")
    return users.map((user) => updated(null, user))
  }

  async #load(
    roomId: string,
    history: History,
    count: number,
    change: (work: () => void) => void,
  ): Promise<readonly ChatMessage[]> {
    if (history.whole) return []
    const { round } = history
    const end = history.loading()
    try {
      const query = { limit: String(count), before: end === null ? null : String(end) }
      const { messages, before } = await this.#get<{ messages: ChatPayload[]; before: number | null }>(
        roomId,
        "messages",
        query,
      )
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
  async #get<Body>(roomId: string, what: string, query: Record<string, string | null> = {}): Promise<Body> {
    const path = `api/v1/rooms/${encodeURIComponent(roomId)}/${what}`
    const url = httpAddress(this.#url, path, { ...(await this.#identity.query()), ...query })
    let answer: Response
    let body: unknown
    try {
      answer = await fetch(url, { credentials: "include", cache: "no-store" })
      body = await answer.json()
    } catch (error) {
      throw new StudyroomError("connection_lost", `the server does not answer: ${error}`, { cause: error })
    }
    if (answer.ok) return body as Body
    const { code, message } = body as ErrorPayload
    throw new StudyroomError(code, message)
  }
}
