/** Connects over plain HTTP where a network blocks WebSockets: `new StudyroomClient({ WebSocket: withFallback() })`. */

import { ABNORMAL } from "../core/close-codes.js"
import type { WebSocketConstructor, WebSocketLike } from "../types.js"
import { Choice, RETRY_MS } from "./choice.js"
import { HttpSocket } from "./http-socket.js"

const MOVING = JSON.stringify({ type: "Moving", payload: { within_ms: 0 } })
/** The network may only have been away for a moment, so the first try to get back comes soon. */
const FIRST_RETRY_MS = 5000
/** A WebSocket that has lasted this long after its first message was not blocked. */
const PROVEN_MS = 2000

export interface FallbackOptions {
  /** Where there is no global WebSocket. */
  WebSocket?: WebSocketConstructor
  /** How long a client stays with HTTP before it tries a WebSocket again. Default 600,000. */
  retryMs?: number
}

/**
 * Returns a class for the option `WebSocket` of one client. When two WebSockets in a row end before anything has come, or
 * right after, the next connection is one over HTTP. Meanwhile it tries from time to time whether a WebSocket gets
 * through, and then moves back.
 */
export function withFallback(options: FallbackOptions = {}): WebSocketConstructor {
  const choice = new Choice(options.retryMs)
  // A constructor may return another object.
  return class {
    constructor(href: string, protocols?: string[]) {
      const target = { href, protocols }
      // biome-ignore lint/correctness/noConstructorReturn: the client needs a class, and this one chooses between two
      return choice.usesHttp(Date.now())
        ? overHttp(target, choice, options)
        : watched(target, choice, options)
    }
  } as unknown as WebSocketConstructor
}

/** Where a connection leads, and its subprotocols, among which may be the token. */
interface Target {
  href: string
  protocols: string[] | undefined
}

/** Throws if the address is not one of a WebSocket, or if there is no WebSocket. */
function watched({ href, protocols }: Target, choice: Choice, options: FallbackOptions): WebSocketLike {
  const Socket = options.WebSocket ?? (globalThis.WebSocket as WebSocketConstructor | undefined)
  if (!Socket) throw new Error("there is no WebSocket here")
  const socket = new Socket(href, protocols) as WebSocketLike & EventTarget
  let firstAt: number | null = null
  socket.addEventListener("message", () => {
    firstAt ??= Date.now()
  })
  socket.addEventListener("close", (event) => {
    if ((event as CloseEvent).code !== ABNORMAL) choice.webSocketWorks()
    else choice.webSocketBroke(firstAt === null ? null : Date.now() - firstAt)
  })
  return socket
}

function overHttp(target: Target, choice: Choice, options: FallbackOptions): WebSocketLike {
  const socket = new HttpSocket(target.href, target.protocols)
  let works = false
  socket.watch({
    message: () => {
      works = true
      choice.httpWorks(Date.now())
    },
    close: () => {
      clearTimeout(timer)
      if (!works) choice.httpBroke()
    },
  })
  const probe = () => {
    if (!works) return
    proves(target, options).then((proven) => {
      if (!proven) {
        timer = setTimeout(probe, retryMs)
        return
      }
      choice.webSocketWorks()
      socket.say(MOVING)
    })
  }
  const retryMs = options.retryMs ?? RETRY_MS
  let timer = setTimeout(probe, Math.min(FIRST_RETRY_MS, retryMs))
  return socket
}

/** Whether a WebSocket gets through, and stays. */
function proves(target: Target, options: FallbackOptions): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = watched(target, new Choice(), options)
    socket.onmessage = () =>
      setTimeout(() => {
        resolve(true)
        socket.onclose = null
        socket.close()
      }, PROVEN_MS)
    socket.onclose = () => resolve(false)
    socket.onerror = () => {}
  })
}
