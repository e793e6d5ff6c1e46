/** Promises of calls that the server answers later. */

import { StudyroomError } from "./error.js"
import type { ChatFailure, FailureCode } from "./types.js"

export const LEFT: ChatFailure = { code: "left", message: "the room was left" }

interface Failure {
  code: FailureCode
  message: string
}

/** One promise. If nobody handles its rejection, nothing is reported: the state of the client shows it too. */
export class Outcome<T> {
  readonly promise: Promise<T>
  resolve!: (value: T) => void
  #reject!: (error: StudyroomError) => void

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve
      this.#reject = reject
    })
    this.promise.catch(() => {})
  }

  reject({ code, message }: Failure): void {
    this.#reject(new StudyroomError(code, message))
  }
}

/** A promise that has failed already. */
export function rejected(code: FailureCode, message: string): Promise<never> {
  const outcome = new Outcome<never>()
  outcome.reject({ code, message })
  return outcome.promise
}

/** The outcomes of several calls, by the id of each. An outcome is forgotten when it is known. Calls with one id share one. */
export class Outcomes<T> {
  readonly #open = new Map<string, Outcome<T>>()

  open(id: string): Promise<T> {
    const outcome = this.#open.get(id) ?? new Outcome<T>()
    this.#open.set(id, outcome)
    return outcome.promise
  }

  resolve(id: string, value: T): void {
    this.#take(id)?.resolve(value)
  }

  reject(id: string, failure: Failure): void {
    this.#take(id)?.reject(failure)
  }

  #take(id: string): Outcome<T> | undefined {
    const outcome = this.#open.get(id)
    this.#open.delete(id)
    return outcome
  }
}
