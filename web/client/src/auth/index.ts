/** A newer access token before the present one expires. */

import { Alarm } from "../alarm.js"
import type { Client, Token } from "../types.js"

/** The client asks for the next token so long before the present one expires, or after three quarters of its life. */
const EARLY_MS = 60_000
const EARLY_SHARE = 0.25
/** Clients whose tokens expire together come one after another, over this share of that time. */
const JITTER = 0.5
/** The wait after a failure: this, or a part of the time that is left, but not less than the other. */
const [RETRY_MS, RETRY_SHARE, RETRY_LEAST_MS] = [5000, 0.25, 500]

/**
 * Sends a newer token before the present one expires, so that the connection stays open. `token`: fetches a token, as
 * the option of the client does. If it fails, it is called again after up to 5 s. Returns a function that ends this.
 */
export function renewToken(client: Client, token: () => Token | Promise<Token>): () => void {
  let isOn = true
  /** The clock of the server minus that of this machine, in milliseconds. */
  let offsetMs = 0
  /** When the present token expires, on the clock of this machine. */
  let expiresAt = 0
  const alarm = new Alarm(Date.now, () => void renew())
  const retry = () => {
    const waitMs = Math.min(RETRY_MS, (expiresAt - Date.now()) * RETRY_SHARE)
    alarm.set(Date.now() + Math.max(RETRY_LEAST_MS, waitMs))
  }

  const renew = async () => {
    try {
      const newer = await token()
      if (!isOn) return
      if (newer) client.send({ type: "Authenticate", payload: { token: newer } })
      else retry()
    } catch {
      if (isOn) retry()
    }
  }
  const expires = (at: number) => {
    expiresAt = at - offsetMs
    const earlyMs = Math.min(EARLY_MS, (expiresAt - Date.now()) * EARLY_SHARE)
    alarm.set(expiresAt - earlyMs * (1 + Math.random() * JITTER))
  }

  const ends = [
    client.on("message", ({ message }) => {
      if (message.type === "Welcome") offsetMs = message.payload.server_time - Date.now()
      if (message.type !== "Welcome" && message.type !== "Authenticated") return
      if (message.payload.expires_at) expires(message.payload.expires_at)
    }),
    client.on("error", ({ error }) => {
      if (error.code === "unauthorized" || error.code === "keys_unavailable") retry()
    }),
    client.on("close", () => alarm.set(Number.POSITIVE_INFINITY)),
  ]
  return () => {
    isOn = false
    alarm.set(Number.POSITIVE_INFINITY)
    for (const end of ends) end()
  }
}
