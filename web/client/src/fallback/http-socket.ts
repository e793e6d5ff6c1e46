/** A connection over plain HTTP, with the interface of a WebSocket: events of one long response, and requests. */

import { authorization } from "../authorization.js"
import { ABNORMAL, NORMAL } from "../core/close-codes.js"
import type { WebSocketLike } from "../types.js"
import { EventReader, type ServerEvent } from "./events.js"

const [CONNECTING, OPEN, CLOSING, CLOSED] = [0, 1, 2, 3]
const NO_CONTENT = 204
const TOO_MANY_REQUESTS = 429
const SERVER_ERROR = 500
/** The characters of the messages in one request. The gateway takes more. */
const BATCH_MAX_CHARS = 65_536
const RETRY_MS = 300
/** After this time without an answer, the batch is sent again: a balancer may still know a gateway that stands still. */
const ATTEMPT_MS = 4_000
/** A batch that does not arrive within this time ends the connection. */
const GIVE_UP_MS = 12_000

interface Watcher {
  message(): void
  close(): void
}

export class HttpSocket implements WebSocketLike {
  readyState = CONNECTING
  onmessage: unknown = null
  onclose: unknown = null
  onerror: unknown = null
  readonly #url: URL
  readonly #abort = new AbortController()
  readonly #waiting: string[] = []
  #uplink: URL | null = null
  #secret = ""
  #number = 0
  #sending = false
  /** The gateway wants to know whether this client is still there. */
  #pinged = false
  #closeCode = 0
  #watcher: Watcher = { message() {}, close() {} }

  readonly #headers: Record<string, string>

  /** `href` and `protocols`: those of the WebSocket that it replaces. */
  constructor(href: string, protocols?: readonly string[]) {
    this.#headers = authorization(protocols)
    this.#url = new URL("api/v1/stream", href)
    this.#url.protocol = this.#url.protocol.replace("ws", "http")
    this.#url.search = new URL(href).search
    this.#read().catch(() => this.#end(ABNORMAL, ""))
  }

  /** Also call these when a message comes, and at the end. */
  watch(watcher: Watcher): void {
    this.#watcher = watcher
  }

  /** Give the client a message as if it came from the server. */
  say(data: string): void {
    if (this.readyState === OPEN) call(this.onmessage, { data })
  }

  send(text: string): void {
    if (this.readyState !== OPEN) return
    this.#waiting.push(text)
    void this.#flush()
  }

  /** With 1000, the server gets the messages that wait, and the code. Without a code the connection breaks. */
  close(code?: number): void {
    if (this.readyState >= CLOSING) return
    const leaves = code === NORMAL && this.readyState === OPEN
    this.readyState = CLOSING
    if (!leaves) return this.#end(ABNORMAL, "")
    this.#closeCode = NORMAL
    void this.#flush().then(() => this.#end(NORMAL, ""))
  }

  async #read(): Promise<void> {
    const response = await fetch(this.#url, {
      headers: this.#headers,
      credentials: "include",
      cache: "no-store",
      signal: this.#abort.signal,
    })
    if (!response.ok || !response.body) return this.#end(ABNORMAL, "")
    const [chunks, decoder, events] = [response.body.getReader(), new TextDecoder(), new EventReader()]
    while (this.readyState !== CLOSED) {
      const { done, value } = await chunks.read()
      if (done) return this.#end(ABNORMAL, "")
      for (const event of events.read(decoder.decode(value, { stream: true }))) this.#received(event)
    }
  }

  #received({ name, data }: ServerEvent): void {
    if (name === "message") {
      this.#watcher.message()
      this.say(data)
    } else if (name === "open") {
      const { gateway, secret } = JSON.parse(data) as { gateway: string; secret: string }
      this.#secret = secret
      this.#uplink = new URL(`${this.#url.pathname}/${gateway}`, this.#url)
      this.readyState = OPEN
    } else if (name === "ping") {
      this.#pinged = true
      void this.#flush()
    } else if (name === "close") {
      const { code, reason } = JSON.parse(data) as { code: number; reason: string }
      this.#end(code, reason)
    }
  }

  /** Send what waits, one batch after the other. */
  async #flush(): Promise<void> {
    if (this.#sending) return
    this.#sending = true
    while (this.readyState !== CLOSED && (this.#waiting.length > 0 || this.#pinged || this.#closeCode > 0)) {
      this.#pinged = false
      const lines = this.#takeLines()
      const close = this.#waiting.length === 0 ? this.#closeCode : 0
      if (close) this.#closeCode = 0
      this.#number += 1
      if (!(await this.#post(lines, close))) this.#end(ABNORMAL, "")
      if (close) this.#end(NORMAL, "")
    }
    this.#sending = false
  }

  #takeLines(): string[] {
    const lines: string[] = []
    for (let chars = 0; this.#waiting.length > 0 && chars < BATCH_MAX_CHARS; ) {
      const line = this.#waiting.shift() ?? ""
      chars += line.length
      lines.push(line)
    }
    return lines
  }

  /** Returns whether the server has the batch. A batch that is sent twice counts once. */
  async #post(lines: string[], close: number): Promise<boolean> {
    const url = new URL(this.#uplink as URL)
    url.searchParams.set("number", String(this.#number))
    if (close) url.searchParams.set("close", String(close))
    const body = [this.#secret, ...lines].join("\n")
    const giveUpAt = performance.now() + GIVE_UP_MS
    while (this.readyState !== CLOSED && performance.now() < giveUpAt) {
      const status = await post(url, body, close > 0)
      if (status === NO_CONTENT) return true
      if (status > 0 && status < SERVER_ERROR && status !== TOO_MANY_REQUESTS) return false
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
    }
    return false
  }

  #end(code: number, reason: string): void {
    if (this.readyState === CLOSED) return
    this.readyState = CLOSED
    this.#abort.abort()
    this.#watcher.close()
    // The event comes after the call that has led to it, as with a WebSocket.
    queueMicrotask(() => call(this.onclose, { code, reason }))
  }
}

/** Returns the status; 0 if no answer came. `keepalive`: the request outlives the page. */
async function post(url: URL, body: string, keepalive: boolean): Promise<number> {
  try {
    const signal = AbortSignal.timeout(ATTEMPT_MS)
    const { status } = await fetch(url, { method: "POST", body, credentials: "include", keepalive, signal })
    return status
  } catch {
    return 0
  }
}

function call(listener: unknown, event: object): void {
  if (typeof listener === "function") listener(event)
}
