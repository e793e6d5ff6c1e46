/** Promises of calls that the server answers later. */

import { StudyroomError } from "./error.js"
import type { ChatFailure, FailureCode } from "./types.js"

export const LEFT: ChatFailure = { code: "left", message: "left" }

interface Failure {
  code: FailureCode
  message: string
}

/** Returns the promise. If nobody handles its rejection, nothing is reported. */
export function quiet<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {})
  return promise
}

/** A promise that has failed already, which is quiet. */
export function rejected(code: FailureCode, message: string): Promise<never> {
  return quiet(Promise.reject(new StudyroomError(code, message)))
}

interface Outcome<T> {
  promise: Promise<T>
  resolve: (value: T) => void
  reject: (error: StudyroomError) => void
}

/**
 * The outcomes of several calls, by the id of each. An outcome is forgotten when it is known. Calls with one id share one.
 * Their promises are quiet: the state of the client shows the outcomes too.
 */
export class Outcomes<T> {
  readonly #open = new Map<string, Outcome<T>>()

  open(id: string): Promise<T> {
    const known = this.#open.get(id)
    if (known) return known.promise
    const outcome = {} as Outcome<T>
    this.#open.set(id, outcome)
    outcome.promise = new Promise((resolve, reject) => Object.assign(outcome, { resolve, reject }))
    return quiet(outcome.promise)
  }

  resolve(id: string, value: T): void {
    this.#take(id)?.resolve(value)
  }

  reject(id: string, { code, message }: Failure): void {
    this.#take(id)?.reject(new StudyroomError(code, message))
  }

  #take(id: string): Outcome<T> | undefined {
    const outcome = this.#open.get(id)
    this.#open.delete(id)
    return outcome
  }
}
