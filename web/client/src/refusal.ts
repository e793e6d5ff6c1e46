/**
 * Asks over plain HTTP why the server refused a handshake, because browsers hide that from a page. The client loads this
 * file when a handshake has failed. It imports nothing that the client loads at once, so that a page needs no third
 * file for what both share.
 */

import type { Address } from "./attempt.js"
import { authorization } from "./authorization.js"
import type { ErrorCode } from "./protocol.js"
import type { Cause } from "./types.js"

/** Another attempt would get the same refusal. */
const FINAL = /^(banned|origin_|host_)/
/** The server may refuse a token for a moment, and an application may give an old one once. */
const UNAUTHORIZED_MAX = 3

/** The failures since the server has accepted a handshake, or the application has connected again. */
export interface Failures {
  unauthorized: number
}

/**
 * Returns the refusal that a handshake with this address would get now. Returns null if there is none, or if the server
 * does not answer. Never rejects.
 */
export async function askRefusal({ href, protocols }: Address): Promise<Cause | null> {
  const url = new URL("api/v1/handshake", href)
  url.protocol = url.protocol.replace("ws", "http")
  url.search = new URL(href).search
  const { location } = globalThis as { location?: Location }
  // A browser sends no `Origin` to its own site, but it does with the handshake.
  if (location?.origin) url.searchParams.set("origin", location.origin)
  try {
    const answer = await fetch(url, {
      headers: authorization(protocols),
      credentials: "include",
      cache: "no-store",
    })
    const { code, message } = (await answer.json()) as { code?: ErrorCode; message?: string }
    // Servers without this answer say `not_found`.
    return answer.ok || !code || code === "not_found" ? null : { code, message: message ?? code }
  } catch {
    return null
  }
}

/** Count this refusal. Returns whether the client should stop. `renewsToken`: another attempt may have another token. */
export function isFinal({ code }: Cause, failures: Failures, renewsToken: boolean): boolean {
  if (code === "unauthorized") failures.unauthorized += 1
  return FINAL.test(code) || failures.unauthorized >= (renewsToken ? UNAUTHORIZED_MAX : 1)
}
