/** Why connections end, for applications. */

import type { Cause } from "../types.js"
import { ABNORMAL } from "./close-codes.js"

const NO_STATUS = 1005

/** The cause of a close by the other side or the network. */
export function causeOf(code: number, reason: string): Cause {
  if (code === ABNORMAL || code === NO_STATUS)
    return { code: "connection_lost", message: "the connection was lost, or could not be opened" }
  return { code: "server_closed", message: reason || `closed with ${code}` }
}

/** Whether another attempt would end the same, because the options are wrong. */
export function isFatal({ code }: Cause): boolean {
  return code === "invalid_url" || code === "no_websocket"
}
