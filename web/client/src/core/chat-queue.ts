/**
 * The user's own messages, from when they are written until they come back stored.
 *
 * One message is under way at a time. The next one is sent when the outcome is known, so the server stores messages in
 * the order in which they were written, even if some fail. If the outcome is unknown, the message is sent again with
 * the same id, but only while the server deduplicates that id. After that the message has failed.
 */

import type { ErrorCode } from "../protocol.js"
import type { ChatFailure, ChatMessage } from "../types.js"
import { backoff } from "./backoff.js"
import { NEVER } from "./never.js"
import { NONE } from "./none.js"
import { transient } from "./transient.js"

/** The server answers within 5 s. After this long without an answer, the message is sent again. */
const ANSWER_MS = 10_000
/** A retry must be stored while the server still knows the id, and storing may take some seconds. */
const MARGIN_MS = 10_000
const MARGIN_SHARE = 0.25
const PAUSE_MIN_MS = 250
const MAX_DOUBLINGS = 3

interface Draft {
  message: ChatMessage
  /**
   * A time on the clock of `poll`. NEVER before the first send, and -NEVER if the server would take the message for
   * another user's.
   */
  firstSentAt: number
  sentAgain: boolean
  /** Why the server would not take it. */
  excess: ChatFailure | null
}

/** Says why the server would not take a message. */
export type Check = (message: ChatMessage) => ChatFailure | null

/** The message to send now, the messages that have just failed, and the latest time of the next poll. */
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
  /** The end of the wait for an answer. With nothing under way, the end of the pause before the next send. */
  #pausedUntil = 0
  #failures = 0
  #check: Check = () => null

  /** Messages that are not stored yet, in the order in which they will be. The same array until something changes. */
  get messages(): readonly ChatMessage[] {
    this.#listed ??= this.#drafts.map((draft) => draft.message)
    return this.#listed
  }

  add(message: ChatMessage): void {
    this.#put({ message, firstSentAt: NEVER, sentAgain: false, excess: this.#check(message) })
  }

  /** Never send messages for which `check` has a failure. */
  limit(check: Check): void {
    this.#check = check
    for (const draft of this.#drafts) draft.excess = check(draft.message)
  }

  /**
   * Allow sending, after the room is joined and every missed message is shown. The server deduplicates a user's ids for
   * `windowMs`.
   */
  open(windowMs: number, userId: string): void {
    this.#resendableMs = windowMs - Math.min(MARGIN_MS, windowMs * MARGIN_SHARE)
    this.#open = true
    if (userId === this.#userId) return
    this.#userId = userId
    for (const draft of this.#drafts) if (draft.firstSentAt !== NEVER) draft.firstSentAt = -NEVER
  }

  /** Stop sending. The outcome of a message under way is unknown. */
  hold(): void {
    if (this.#underWay !== null) this.#rest(0)
    this.#open = false
  }

  /** Call it after every other call, and at `wakeAt`. */
  poll(now: number): Step {
    const due = this.#drafts.filter((draft) => draft !== this.#underWay && this.#isDue(draft, now))
    const failed = due.map((draft) =>
      this.#fail(draft, draft.excess ?? { code: "expired", message: "maybe stored" }),
    )
    const send = this.#open ? this.#next(now) : null
    const wakeAt = Math.min(...this.#drafts.map((draft) => this.#wakeFor(draft)))
    return { send, failed, wakeAt }
  }

  /**
   * Remove a stored message. Returns true for an own message that was sent more than once. It may be an answer out of
   * order.
   */
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

  /** Returns the message as failed, or null if it will be sent again. */
  refused(id: string, failure: { code: ErrorCode; message: string }, now: number): ChatMessage | null {
    const draft = this.#find(id)
    if (draft === undefined) return null
    const again = transient(failure.code)
    if (draft === this.#underWay) this.#rest(again ? this.#pauseFrom(now) : 0)
    return again ? null : this.#fail(draft, failure)
  }

  /**
   * Handle a refusal that names no message: it is about the one under way. If it may pass, the answer is waited for.
   * Returns as `refused` does.
   */
  refusedUnderWay(failure: { code: ErrorCode; message: string }, now: number): ChatMessage | null {
    if (this.#underWay === null || transient(failure.code)) return null
    return this.refused(this.#underWay.message.id, failure, now)
  }

  /**
   * Send a failed message again, after all others. It keeps its id, or gets `newId` if the server may have forgotten
   * it. Returns the id, or null if no such message has failed.
   */
  retry(id: string, newId: string, now: number): string | null {
    const draft = this.#find(id)
    if (draft?.message.state !== "failed") return null
    const { error: _, ...rest } = draft.message
    const message = { ...rest, state: "sending" as const }
    this.#remove(draft)
    const keeps = now < draft.firstSentAt + this.#resendableMs
    if (keeps) this.#put({ ...draft, message, excess: this.#check(message) })
    else this.add({ ...message, id: newId })
    return keeps ? id : newId
  }

  discard(id: string): void {
    const draft = this.#find(id)
    if (draft?.message.state === "failed") this.#remove(draft)
  }

  /** Fail every message that is not stored. Returns those that had not failed before. */
  failAll(failure: ChatFailure): ChatMessage[] {
    this.hold()
    return this.#drafts.filter(isSending).map((draft) => this.#fail(draft, failure))
  }

  find(id: string): ChatMessage | undefined {
    return this.#find(id)?.message
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

  /** Returns the message to send now, or null. */
  #next(now: number): ChatMessage | null {
    if (now < this.#pausedUntil) return null
    // The answer is overdue: pause, then send the message again.
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

  /** The pause is short also after many refusals, so that chat goes on soon after the server can store again. */
  #pauseFrom(now: number): number {
    return now + PAUSE_MIN_MS + backoff(Math.min(this.#failures++, MAX_DOUBLINGS))
  }

  #isDue(draft: Draft, now: number): boolean {
    return isSending(draft) && (draft.excess !== null || this.#expiresAt(draft) <= now)
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
