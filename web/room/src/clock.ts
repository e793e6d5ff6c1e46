/**
 * The server's clock. Timers count by it, because the clocks of computers differ. `Welcome` has its time, so every
 * connection sets it again.
 */

import type { Client } from "@studyroom/client"

let aheadMs = 0

export function keepTime(client: Client): void {
  client.on("message", ({ message }) => {
    if (message.type === "Welcome") aheadMs = message.payload.server_time - Date.now()
  })
}

/** Unix milliseconds. */
export function serverNow(): number {
  return Date.now() + aheadMs
}
