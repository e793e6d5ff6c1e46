/** Reports for developers. */

import type { ClientOptions, FailureCode } from "./types.js"

export class Log {
  /** Something happened. Details never have tokens or the content of messages. */
  readonly debug: NonNullable<ClientOptions["debug"]>
  readonly #reported = new Set<string>()

  constructor(debug: ClientOptions["debug"] = () => {}) {
    this.debug = debug
  }

  /** A fault that only a developer can repair. It comes once to the console, however often it happens. */
  fault({ code, message }: { code: FailureCode; message: string }): void {
    const text = `studyroom: ${message} (${code})`
    if (this.#reported.has(text)) return
    this.#reported.add(text)
    console.error(text)
  }
}
