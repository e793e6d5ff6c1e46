/** Reports for developers. */

import type { ClientOptions, FailureCode } from "./types.js"

export class Log {
  readonly #debug: NonNullable<ClientOptions["debug"]>
  readonly #reported = new Set<string>()

  constructor(debug: ClientOptions["debug"] = false) {
    this.#debug = debug
  }

  /** Something happened. Details never have tokens or the content of messages. */
  readonly debug = (event: string, details: object = {}): void => {
    if (typeof this.#debug === "function") this.#debug(event, details)
    else if (this.#debug) console.debug(`studyroom: ${event}`, details)
  }

  /** A fault that only a developer can repair. It comes once to the console, however often it happens. */
  fault({ code, message }: { code: FailureCode; message: string }): void {
    const text = `studyroom: ${message} (${code})`
    if (this.#reported.has(text)) return
    this.#reported.add(text)
    console.error(text)
  }
}
