/** Asks over plain HTTP why the server refused a handshake, because browsers hide that from a page. */

import { page } from "./page.js"
import type { ErrorCode } from "./protocol.js"
import type { Cause } from "./types.js"

/**
 * Returns the refusal that a handshake with this address would get now. Returns null if there is none, or if the server
 * does not answer. Never rejects.
 */
export async function askRefusal(href: string): Promise<Cause | null> {
  const url = new URL("api/v1/handshake", href)
  url.protocol = url.protocol.replace("ws", "http")
  url.search = new URL(href).search
  // A browser sends no `Origin` to its own site, but it does with the handshake.
  if (page.location?.origin) url.searchParams.set("origin", page.location.origin)
  try {
    const answer = await fetch(url, { credentials: "include", cache: "no-store" })
    const { code, message } = (await answer.json()) as { code?: ErrorCode; message?: string }
    // Servers without this answer say `not_found`.
    return answer.ok || !code || code === "not_found" ? null : { code, message: message ?? code }
  } catch {
    return null
  }
}
