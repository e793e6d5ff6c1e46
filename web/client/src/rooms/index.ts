/**
 * Several rooms over one connection: give all clients of a user the same class, as in
 * `new StudyroomClient({ url, WebSocket: shared })` with `const shared = shareConnection()`.
 */

import type { WebSocketConstructor } from "../types.js"
import { ChannelSocket } from "./channel-socket.js"
import { Line } from "./line.js"

export interface ShareOptions {
  /** Where there is no global WebSocket, or a class such as that of `withFallback()`. */
  WebSocket?: WebSocketConstructor
}

/** The beginning of the subprotocol that has the token. */
const TOKEN = "access_token."
/** Parameters that may differ between the clients of one connection. */
const OWN_PARAMETERS = ["room", "access_token", "guest_token"]

/**
 * Returns a class for the option `WebSocket` of several clients of one user. Clients with the same address share one
 * WebSocket, as long as the server allows so many channels. Of a server that knows no channels, each gets its own.
 */
export function shareConnection(options: ShareOptions = {}): WebSocketConstructor {
  const lines = new Set<Line>()
  const place = (socket: ChannelSocket) => {
    const key = keyOf(socket)
    for (const line of lines) if (line.key === key && line.add(socket)) return
    const Socket = options.WebSocket ?? (globalThis.WebSocket as WebSocketConstructor | undefined)
    if (!Socket) throw new Error("there is no WebSocket here")
    const line = new Line(key, Socket, socket, { place, ended: () => lines.delete(line) })
    lines.add(line)
  }
  // A constructor may return another object.
  return class {
    constructor(href: string, protocols?: string[]) {
      const socket = new ChannelSocket(href, protocols)
      place(socket)
      // biome-ignore lint/correctness/noConstructorReturn: the client needs a class, and this one makes channels
      return socket
    }
  } as unknown as WebSocketConstructor
}

/** Equal for addresses of the same user at the same server. */
function keyOf({ href, protocols = [] }: ChannelSocket): string {
  const url = new URL(href)
  const given = protocols.find((protocol) => protocol.startsWith(TOKEN))
  const user = subjectOf(given?.slice(TOKEN.length) ?? url.searchParams.get("access_token"))
  for (const name of OWN_PARAMETERS) url.searchParams.delete(name)
  return `${user} ${url}`
}

/** The subject of an access token, which is the same in a newer one. */
function subjectOf(token: string | null): string {
  try {
    const claims = (token ?? "").split(".")[1] ?? ""
    return String(JSON.parse(atob(claims.replaceAll("-", "+").replaceAll("_", "/"))).sub)
  } catch {
    return token ?? ""
  }
}
