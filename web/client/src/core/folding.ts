/** Messages with the edits and reactions that came since. The server folds those that came before by the same rules. */

import type { LivingMessage, Reaction } from "../living-chat.js"
import type { ReactionSummary, ServerMessage } from "../protocol.js"
import type { ChatMessage } from "../types.js"
import { NONE } from "./none.js"

type Change = Extract<ServerMessage, { type: "ChatEdited" | "ChatReaction" }>

const REACTIONS_MAX = 20
/** Changes of messages that are not shown yet are kept too. The oldest go beyond this many messages. */
const TARGETS_MAX = 2000

interface Since {
  edit: { content: string; mentions: readonly string[]; at: number; seq: number } | null
  /** The last thing that each user did, by reaction and then by user. */
  reactions: Map<string, Map<string, { isOn: boolean; seq: number }>>
}

export class Fold {
  /** The server has folded all changes up to this position. */
  #foldedTo = 0
  readonly #since = new Map<number, Since>()
  #shown = new WeakMap<ChatMessage, LivingMessage>()
  /** Positions of messages that have changed since they were folded. */
  readonly #changed = new Set<number>()
  #from: readonly ChatMessage[] | null = null
  #own = ""
  #result: readonly LivingMessage[] = NONE

  /** Forget all changes, because the messages start over and have those up to `position`. */
  clear(position: number): void {
    this.#foldedTo = position
    this.#since.clear()
    this.#shown = new WeakMap()
    this.#from = null
  }

  /** Take a change. The answer to a repeated one is a copy, which may be older than another that has come. */
  take({ type, payload }: Change): void {
    if (payload.seq <= this.#foldedTo) return
    const since = this.#since.get(payload.target_seq) ?? { edit: null, reactions: new Map() }
    this.#since.set(payload.target_seq, since)
    if (type === "ChatEdited") {
      const { content, mentions, timestamp: at, seq } = payload
      if (seq > (since.edit?.seq ?? 0)) since.edit = { content, mentions: mentions ?? NONE, at, seq }
    } else {
      const users = since.reactions.get(payload.reaction) ?? new Map<string, { isOn: boolean; seq: number }>()
      since.reactions.set(payload.reaction, users)
      if (payload.seq > (users.get(payload.user_id)?.seq ?? 0))
        users.set(payload.user_id, { isOn: payload.is_on, seq: payload.seq })
    }
    const [oldest] = this.#since.keys()
    if (this.#since.size > TARGETS_MAX && oldest !== undefined) this.#since.delete(oldest)
    this.#changed.add(payload.target_seq)
    this.#from = null
  }

  /** The messages as they are now. The same array, and the same objects, for the same messages without new changes. */
  shown(messages: readonly ChatMessage[], own: string): readonly LivingMessage[] {
    if (own !== this.#own) this.#shown = new WeakMap()
    if (messages === this.#from && own === this.#own) return this.#result
    this.#from = messages
    this.#own = own
    this.#result = messages.map((message) => {
      const known = this.#changed.has(message.seq ?? 0) ? undefined : this.#shown.get(message)
      const shown = known ?? this.#folded(message)
      this.#shown.set(message, shown)
      return shown
    })
    this.#changed.clear()
    return this.#result
  }

  #folded(message: ChatMessage): LivingMessage {
    const since = this.#since.get(message.seq ?? 0)
    const editedAt = message.edited_at ?? null
    const edit = since?.edit && since.edit.at >= (editedAt ?? 0) ? since.edit : null
    return {
      ...message,
      content: edit?.content ?? message.content,
      replyTo: message.reply_to ?? null,
      mentioned: edit?.mentions ?? message.mentions ?? NONE,
      editedAt: edit?.at ?? editedAt,
      reacted: this.#reacted(message.reactions ?? NONE, since),
    }
  }

  #reacted(before: readonly ReactionSummary[], since: Since | undefined): readonly Reaction[] {
    const all = new Map<string, { count: number; users: Set<string> }>()
    for (const { reaction, count, user_ids } of before) all.set(reaction, { count, users: new Set(user_ids) })
    for (const [reaction, users] of since?.reactions ?? [])
      for (const [user, { isOn }] of users) {
        const known = all.get(reaction) ?? { count: 0, users: new Set<string>() }
        if (isOn && (all.has(reaction) || all.size < REACTIONS_MAX)) all.set(reaction, known)
        if (isOn === known.users.has(user)) continue
        known.count += isOn ? 1 : -1
        if (isOn) known.users.add(user)
        else known.users.delete(user)
        if (known.count <= 0) all.delete(reaction)
      }
    return [...all].map(([reaction, { count, users }]) => ({
      reaction,
      count,
      userIds: [...users],
      own: users.has(this.#own),
    }))
  }
}
