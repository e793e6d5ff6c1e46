/** Why connections end, for applications. */

import type { Cause } from "../types.js"
import { ABNORMAL } from "./close-codes.js"

const NO_STATUS = 1005

/** A cause that its code describes. */
export function plain(code: "close_called" | "page_left" | "connection_lost" | "no_answer"): Cause {
  return { code, message: code.replace("_", " ") }
}

/** The cause of a close by the other side or the network. */
export function causeOf(code: number, reason: string): Cause {
  if (code === ABNORMAL || code === NO_STATUS) return plain("connection_lost")
  return { code: "server_closed", message: reason || String(code) }
}

/** Whether another attempt would end the same, because the options are wrong. */
export function isFatal({ code }: Cause): boolean {
  return /^(invalid_url|no_websocket)$/.test(code)
}
