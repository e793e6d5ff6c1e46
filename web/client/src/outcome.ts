/** Promises of calls that the server answers later. */

import { StudyroomError } from "./error.js"
import type { ChatFailure, FailureCode, RoomState } from "./types.js"

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

/** The outcome of joining the wanted room. */
export class JoinOutcome {
  #open: Outcome<RoomState> | null = null

  /** `same`: the room was wanted before, so an open outcome goes on. */
  begin(same: boolean): Promise<RoomState> {
    if (!same) this.reject(LEFT)
    this.#open ??= new Outcome()
    return this.#open.promise
  }

  /** `failure`: why the user does not get in without another call of the application. */
  settle(state: RoomState, failure: ChatFailure | null): void {
    if (failure !== null) this.reject(failure)
    else if (state.status === "joined") this.#take()?.resolve(state)
  }

  reject(failure: ChatFailure): void {
    this.#take()?.reject(failure)
  }

  #take(): Outcome<RoomState> | null {
    const open = this.#open
    this.#open = null
    return open
  }
}

/** A promise that has failed already. */
export function rejected(code: FailureCode, message: string): Promise<never> {
  const outcome = new Outcome<never>()
  outcome.reject({ code, message })
  return outcome.promise
}

/** The outcomes of several calls, by the id of each. An outcome is forgotten when it is known. */
export class Outcomes<T> {
  readonly #open = new Map<string, Outcome<T>>()

  open(id: string): Promise<T> {
    const outcome = new Outcome<T>()
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
