/**
 * The refusals of handshakes in a row: when to ask for the reason, which answer still counts, and which is final. An
 * answer counts until the server has accepted a handshake, or the application has connected again.
 */

import type { Cause } from "../types.js"

/** Another attempt would get the same refusal. */
const FINAL = /^(banned|origin_|host_)/
/** The server may refuse a token for a moment, and an application may give an old one once. */
const UNAUTHORIZED_MAX = 3

export class Refusals {
  readonly #unauthorizedMax: number
  #series = 0
  #unauthorized = 0
  #excused = false

  /** `renewsToken`: another attempt may have another token. */
  constructor(renewsToken: boolean) {
    this.#unauthorizedMax = renewsToken ? UNAUTHORIZED_MAX : 1
  }

  /** Returns whether this failure needs an explanation. The first one after a good connection needs none. */
  failed(): boolean {
    const excused = this.#excused
    this.#excused = false
    return !excused
  }

  forget(): void {
    this.#series += 1
    this.#unauthorized = 0
    this.#excused = false
  }

  /** The server has accepted a handshake. */
  accepted(): void {
    this.forget()
    this.#excused = true
  }

  /** The series of failures. An answer counts while this is the same as at its question. */
  get series(): number {
    return this.#series
  }

  /** Count this refusal. Returns whether the client should stop. */
  isFinal({ code }: Cause): boolean {
    if (code === "unauthorized") this.#unauthorized += 1
    return FINAL.test(code) || this.#unauthorized >= this.#unauthorizedMax
  }
}
