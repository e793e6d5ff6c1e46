/**
 * Chat as its edits and reactions have made it, and the calls that edit, delete and react.
 *
 * It stands on the client, and pages that do not import it do not get it.
 */

import { Fold } from "./core/folding.js"
import { NONE } from "./core/none.js"
import { transient } from "./core/transient.js"
import { newId } from "./new-id.js"
import { LEFT, Outcomes, rejected } from "./outcome.js"
import type { ClientMessage, ErrorPayload, ServerMessage } from "./protocol.js"
import { Changes, Store } from "./store.js"
import type { ChatMessage, Client, Member, Readable, SentChat } from "./types.js"

/** The wait before a change is sent again, after a refusal that may pass or without an answer. */
const AGAIN_MS = 1000
const ANSWER_MS = 10_000
/** A retry must be stored while the server still knows the id. */
const MARGIN_SHARE = 0.75
const DEFAULT_WINDOW_MS = 120_000
/** The field of custom presence that says how far a member has read. */
const READ = "chat_read"

/** The users that have reacted in the same way. */
export interface Reaction {
  reaction: string
  count: number
  /** The first 50 of them, and those whose reaction came since. */
  userIds: readonly string[]
  /** Whether the user of this client is among them. */
  own: boolean
}

/** A message as its edits and reactions have made it. */
export interface LivingMessage extends ChatMessage {
  replyTo: string | null
  mentioned: readonly string[]
  /** Unix seconds; null if it was never edited. */
  editedAt: number | null
  reacted: readonly Reaction[]
}

/** The message to change: one of `messages`, or its id and position. */
export type Target = Pick<ChatMessage, "id" | "seq">

export interface LivingChat {
  /** The messages of the client, as they are now. The same array until something changes. */
  readonly messages: Readable<readonly LivingMessage[]>
  /**
   * Replace the content of an own message. Resolves when the server has stored the edit. The client sends it again after
   * a lost connection, and the server stores it once. Rejects with StudyroomError: with the code of the server, with
   * `expired` if the outcome is unknown, and with `left` when the user leaves the room before.
   */
  edit(target: Target, content: string, mentions?: string[]): Promise<void>
  /** Delete an own message. The promise is as that of `edit`. */
  remove(target: Target): Promise<void>
  /** React to a message, or take the reaction back. The promise is as that of `edit`. */
  react(target: Target, reaction: string, isOn?: boolean): Promise<void>
  /** Send a message that replies to another one, as `sendChat`. */
  reply(target: Target, content: string, mentions?: string[]): SentChat
  /** Show the others that the user has read everything up to this message. It never goes back. */
  markRead(target: Target): void
  /** The other members that have read this message. Changes with `others` of the client. */
  readBy(target: Target): readonly Member[]
}

type Change = Extract<ClientMessage, { type: "EditChat" | "DeleteChat" | "ReactToChat" }>

interface Pending {
  message: Change
  roomId: string
  firstSentAt: number | null
  sendAt: number
}

const known = new WeakMap<Client, LivingChat>()

/**
 * Returns the living chat of a client, always the same one. Call it before `connect`: it misses the edits and reactions
 * that come before the first call.
 */
export function livingChat(client: Client): LivingChat {
  const chat = known.get(client) ?? new OnClient(client)
  known.set(client, chat)
  return chat
}

class OnClient implements LivingChat {
  readonly #client: Client
  readonly #changes = new Changes()
  readonly #messages = new Store<readonly LivingMessage[]>(this.#changes, NONE)
  readonly messages: Readable<readonly LivingMessage[]> = this.#messages
  readonly #fold = new Fold()
  readonly #outcomes = new Outcomes<void>()
  /** Changes without an outcome, by the id that the server names them by. */
  readonly #pending = new Map<string, Pending>()
  #windowMs = DEFAULT_WINDOW_MS * MARGIN_SHARE
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(client: Client) {
    this.#client = client
    client.messages.subscribe(() => this.#show())
    client.self.subscribe(() => this.#show())
    client.room.subscribe(() => this.#roomChanged())
    client.on("message", ({ message }) => this.#received(message))
    client.on("joined", () => this.#joined())
    this.#show()
  }

  readonly edit = (target: Target, content: string, mentions: string[] = []): Promise<void> => {
    const payload = { ...named(target), content, id: newId(), mentions }
    return this.#change({ type: "EditChat", payload }, payload.id)
  }

  readonly remove = (target: Target): Promise<void> =>
    this.#change({ type: "DeleteChat", payload: named(target) }, target.id)

  readonly react = (target: Target, reaction: string, isOn = true): Promise<void> => {
    const payload = { ...named(target), reaction, is_on: isOn, id: newId() }
    return this.#change({ type: "ReactToChat", payload }, payload.id)
  }

  readonly reply = (target: Target, content: string, mentions: string[] = []): SentChat =>
    this.#client.sendChat(content, { reply_to: target.id, mentions })

  readonly markRead = ({ seq }: Target): void => {
    const room = this.#client.room.get()
    if (room.status !== "joined" || seq === null) return
    if (readUpTo(this.#client.presence.get(), room.epoch) >= seq) return
    this.#client.updatePresence({ [READ]: { seq, epoch: room.epoch } })
  }

  readonly readBy = ({ seq }: Target): readonly Member[] => {
    const room = this.#client.room.get()
    if (room.status !== "joined" || seq === null) return NONE
    return this.#client.others.get().filter(({ presence }) => readUpTo(presence, room.epoch) >= seq)
  }

  // --- changes --------------------------------------------------------------------------------------------

  #change(message: Change, id: string): Promise<void> {
    const room = this.#client.room.get()
    if (room.status !== "joined" && room.status !== "joining")
      return rejected("not_in_room", "no room is wanted: join one first")
    const outcome = this.#outcomes.open(id)
    this.#pending.set(id, { message, roomId: room.roomId, firstSentAt: null, sendAt: 0 })
    this.#send()
    return outcome
  }

  /** Send what is due, and come back when more is. */
  #send(): void {
    clearTimeout(this.#timer)
    const now = performance.now()
    const room = this.#client.room.get()
    for (const [id, pending] of this.#pending) {
      if (pending.firstSentAt !== null && now - pending.firstSentAt > this.#windowMs)
        this.#fail(id, { code: "expired", message: "it may be stored or not" })
      else if (room.status === "joined" && now >= pending.sendAt && this.#client.send(pending.message)) {
        pending.firstSentAt ??= now
        pending.sendAt = now + ANSWER_MS
      }
    }
    const next = Math.min(...[...this.#pending.values()].map(({ sendAt }) => sendAt))
    if (this.#pending.size > 0) this.#timer = setTimeout(() => this.#send(), Math.max(AGAIN_MS, next - now))
  }

  #joined(): void {
    for (const pending of this.#pending.values()) pending.sendAt = 0
    this.#send()
  }

  #roomChanged(): void {
    const room = this.#client.room.get()
    const roomId = room.status === "joined" || room.status === "joining" ? room.roomId : null
    for (const [id, pending] of this.#pending) if (pending.roomId !== roomId) this.#fail(id, LEFT)
  }

  #refused({ id, code, message }: ErrorPayload): void {
    const pending = id ? this.#pending.get(id) : undefined
    if (!id || pending === undefined) return
    if (!transient(code)) return this.#fail(id, { code, message })
    pending.sendAt = performance.now() + AGAIN_MS
    this.#send()
  }

  #stored(id: string): void {
    if (this.#pending.delete(id)) this.#outcomes.resolve(id, undefined)
  }

  #fail(id: string, failure: Parameters<Outcomes<void>["reject"]>[1]): void {
    this.#pending.delete(id)
    this.#outcomes.reject(id, failure)
  }

  // --- events ---------------------------------------------------------------------------------------------

  #received(message: ServerMessage): void {
    switch (message.type) {
      case "Welcome":
        this.#windowMs = (message.payload.chat_retry_seconds ?? 0) * 1000 * MARGIN_SHARE || this.#windowMs
        return
      case "JoinedRoom":
        if (!message.payload.recovered) this.#fold.clear(message.payload.last_seq ?? 0)
        return
      case "ChatEdited":
      case "ChatReaction":
        this.#fold.take(message)
        this.#show()
        return this.#stored(message.payload.id)
      case "ChatDeleted":
        return this.#stored(message.payload.id)
      case "Error":
        return this.#refused(message.payload)
    }
  }

  #show(): void {
    const own = this.#client.self.get()?.userId ?? ""
    const messages = this.#client.messages.get()
    this.#changes.run(() => this.#messages.set(this.#fold.shown(messages, own)))
  }
}

function named({ id, seq }: Target): { target_id: string; target_seq: number } {
  if (seq === null) throw new TypeError("the message is not stored yet")
  return { target_id: id, target_seq: seq }
}

/** The position up to which a member has read; 0 if that is unknown, or of another epoch. */
function readUpTo(presence: Member["presence"], epoch: string): number {
  const read = presence[READ] as { seq?: unknown; epoch?: unknown } | null | undefined
  return typeof read?.seq === "number" && read.epoch === epoch ? read.seq : 0
}
