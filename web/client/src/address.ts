import { StudyroomError } from "./error.js"
import { page } from "./page.js"

type Query = Record<string, string | null | undefined>

/**
 * The address of the WebSocket with these parameters in its query. Empty ones are left out. Throws StudyroomError
 * (`invalid_url`).
 */
export function address(url: string | URL, query: Query): URL {
  let result: URL
  try {
    result = new URL(url, page.location?.href)
  } catch (cause) {
    const hint = page.location ? "" : ": outside of a page it must be complete"
    throw new StudyroomError("invalid_url", `the url "${url}" is not valid${hint}`, { cause })
  }
  result.protocol = result.protocol.replace("http", "ws")
  result.hash = ""
  return withQuery(result, query)
}

/** The address of a request over plain HTTP, which is beside that of the WebSocket. Throws as `address` does. */
export function httpAddress(url: string | URL, path: string, query: Query): URL {
  const socket = address(url, {})
  const result = new URL(path, socket)
  result.protocol = socket.protocol.replace("ws", "http")
  return withQuery(result, query)
}

function withQuery(url: URL, query: Query): URL {
  for (const [name, value] of Object.entries(query)) {
    if (value) url.searchParams.set(name, value)
  }
  return url
}
