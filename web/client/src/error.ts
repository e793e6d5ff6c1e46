import type { FailureCode } from "./types.js"

/** Why a call failed. Promises of the client reject with it. `code` is stable, and `message` is for people. */
export class StudyroomError extends Error {
  override readonly name = "StudyroomError"
  readonly code: FailureCode

  constructor(code: FailureCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
