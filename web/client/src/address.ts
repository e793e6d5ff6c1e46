import { StudyroomError } from "./error.js"
import { page } from "./page.js"

export type Query = Record<string, string | null | undefined>

/**
 * The address of the WebSocket with these parameters in its query. Empty ones are left out. Throws StudyroomError
 * (`invalid_url`).
 */
export function address(url: string | URL, query: Query): URL {
  let result: URL
  try {
    result = new URL(url, page.location?.href)
  } catch {
    throw new StudyroomError("invalid_url", `not a complete address: "${url}"`)
  }
  result.protocol = result.protocol.replace("http", "ws")
  result.hash = ""
  for (const [name, value] of Object.entries(query)) if (value) result.searchParams.set(name, value)
  return result
}

/** The address of a request over plain HTTP, which is beside that of the WebSocket. Throws as `address` does. */
export function httpAddress(url: string | URL, path: string, query: Query): URL {
  const result = address(new URL(path, address(url, {})), query)
  result.protocol = result.protocol.replace("ws", "http")
  return result
}
