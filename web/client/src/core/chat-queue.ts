/**
 * Own messages from being written until they come back stored.
 *
 * One is under way at a time and the next goes when its outcome is known: so they are stored in the order in which they
 * were written, whatever fails between. Which of those whose outcome is unknown may be sent again is the server's to
 * say: it recognises an id for a while, and after that nothing is sent again by itself.
 */

import type { ErrorCode } from "../protocol.js"
import type { ChatFailure, ChatMessage } from "../types.js"
import { backoff } from "./backoff.js"
import { NEVER } from "./never.js"
import { NONE } from "./none.js"
import { transient } from "./transient.js"

/** The server answers within 5 s; who hears nothing for so long asks again. */
const ANSWER_MS = 10_000
/** What is sent again has to be stored while its id is still known, and that may take some seconds. */
const MARGIN_MS = 10_000
const MARGIN_SHARE = 0.25
const PAUSE_MIN_MS = 250

interface Draft {
  message: ChatMessage
  /** As of the clock of `poll`; NEVER before, and long ago when the server would take it for another user's. */
  firstSentAt: number
  sentAgain: boolean
}

/** What is to be done now, and when to poll again at the latest. */
export interface Step {
  send: ChatMessage | null
  failed: ChatMessage[]
  wakeAt: number
}

export class ChatQueue {
  #drafts: Draft[] = []
  #listed: readonly ChatMessage[] | null = NONE
  #resendableMs = 0
  #userId = ""
  #open = false
  #underWay: Draft | null = null
  /** Until then an answer is awaited; with nothing under way, until then nothing is sent. */
  #pausedUntil = 0
  #failures = 0
  readonly #random: () => number

  constructor(random = Math.random) {
    this.#random = random
  }

  /** Messages that are not stored, in the order in which they will be. The same array while nothing changes. */
  get messages(): readonly ChatMessage[] {
    this.#listed ??= this.#drafts.map((draft) => draft.message)
    return this.#listed
  }

  add(message: ChatMessage): void {
    this.#put({ message, firstSentAt: NEVER, sentAgain: false })
  }

  /** The room is joined and everything missed has been shown. The server recognises ids of a user for `windowMs`. */
  open(windowMs: number, userId: string): void {
    this.#resendableMs = windowMs - Math.min(MARGIN_MS, windowMs * MARGIN_SHARE)
    this.#open = true
    if (userId === this.#userId) return
    this.#userId = userId
    for (const draft of this.#drafts) if (draft.firstSentAt !== NEVER) draft.firstSentAt = -NEVER
  }

  /** Nothing can be sent; the outcome of what is under way is unknown. */
  hold(): void {
    if (this.#underWay !== null) this.#rest(0)
    this.#open = false
  }

  /** To be called after everything else here, and at `wakeAt`. */
  poll(now: number): Step {
    const due = this.#drafts.filter((draft) => draft !== this.#underWay && this.#expiresAt(draft) <= now)
    const failed = due.map((draft) =>
      this.#fail(draft, { code: "expired", message: "it may be stored or not" }),
    )
    const send = this.#open ? this.#next(now) : null
    const wakeAt = Math.min(...this.#drafts.map((draft) => this.#wakeFor(draft)))
    return { send, failed, wakeAt }
  }

  /** A stored message came. True when it is one of ours that was sent more than once: it may be an answer out of order. */
  stored(id: string): boolean {
    const draft = this.#find(id)
    if (draft === undefined) return false
    this.#remove(draft)
    if (draft === this.#underWay) {
      this.#failures = 0
      this.#rest(0)
    }
    return draft.sentAgain
  }

  /** The message as failed, or null when it will be sent again. */
  refused(id: string, failure: { code: ErrorCode; message: string }, now: number): ChatMessage | null {
    const draft = this.#find(id)
    if (draft === undefined) return null
    const again = transient(failure.code)
    if (draft === this.#underWay) this.#rest(again ? this.#pauseFrom(now) : 0)
    return again ? null : this.#fail(draft, failure)
  }

  /** Send a failed message again, as the last: with its id, or with `newId` where the server may not know it any more. */
  retry(id: string, newId: string, now: number): void {
    const draft = this.#find(id)
    if (draft?.message.state !== "failed") return
    const { error: _, ...rest } = draft.message
    const message = { ...rest, state: "sending" as const }
    this.#remove(draft)
    if (now < draft.firstSentAt + this.#resendableMs) this.#put({ ...draft, message })
    else this.add({ ...message, id: newId })
  }

  discard(id: string): void {
    const draft = this.#find(id)
    if (draft?.message.state === "failed") this.#remove(draft)
  }

  /** Nothing more will be sent. Returns what had not failed before. */
  failAll(failure: ChatFailure): ChatMessage[] {
    this.hold()
    return this.#drafts.filter(isSending).map((draft) => this.#fail(draft, failure))
  }

  #find(id: string): Draft | undefined {
    return this.#drafts.find((draft) => draft.message.id === id)
  }

  #put(draft: Draft): void {
    this.#drafts.push(draft)
    this.#listed = null
  }

  #remove(draft: Draft): void {
    this.#drafts = this.#drafts.filter((other) => other !== draft)
    this.#listed = null
  }

  #fail(draft: Draft, error: ChatFailure): ChatMessage {
    this.#listed = null
    draft.message = { ...draft.message, state: "failed", error }
    return draft.message
  }

  /** What is to be sent now. */
  #next(now: number): ChatMessage | null {
    if (now < this.#pausedUntil) return null
    // No answer is an answer.
    if (this.#underWay !== null) return this.#rest(this.#pauseFrom(now))
    const draft = this.#drafts.find(isSending)
    if (draft === undefined) return null
    draft.sentAgain = draft.firstSentAt !== NEVER
    draft.firstSentAt = Math.min(draft.firstSentAt, now)
    this.#underWay = draft
    this.#pausedUntil = now + ANSWER_MS
    return draft.message
  }

  #rest(until: number): null {
    this.#pausedUntil = until
    this.#underWay = null
    return null
  }

  #pauseFrom(now: number): number {
    return now + PAUSE_MIN_MS + backoff(this.#failures++, {}, this.#random)
  }

  #expiresAt(draft: Draft): number {
    return isSending(draft) ? draft.firstSentAt + this.#resendableMs : NEVER
  }

  #wakeFor(draft: Draft): number {
    const pausedUntil = this.#open && isSending(draft) ? this.#pausedUntil : NEVER
    return draft === this.#underWay ? pausedUntil : Math.min(pausedUntil, this.#expiresAt(draft))
  }
}

function isSending({ message }: Draft): boolean {
  return message.state === "sending"
}
