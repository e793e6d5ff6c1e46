import { page } from "./page.js"

/** The address of the WebSocket with what says who we are. */
export function address(url: string | URL, query: Record<string, string | null | undefined>): URL {
  const result = new URL(url, page.location?.href)
  result.protocol = result.protocol.replace("http", "ws")
  result.hash = ""
  for (const [name, value] of Object.entries(query)) {
    if (value) result.searchParams.set(name, value)
  }
  return result
}
