/** Decides between WebSocket and HTTP from the outcomes of earlier connections. */

/** This many WebSockets in a row must fail, because a single failure may be that of a gateway. */
const FAILURES_MAX = 2
/** A WebSocket that ends sooner than this after its first message was blocked. */
const KILLED_MS = 2000
/** In milliseconds. */
export const RETRY_MS = 10 * 60_000

export class Choice {
  readonly #retryMs: number
  #failures = 0
  /** Use HTTP until this time, in milliseconds. */
  #httpUntil = 0

  /** `retryMs`: the time until the client tries a WebSocket again. */
  constructor(retryMs = RETRY_MS) {
    this.#retryMs = retryMs
  }

  /** Whether the next connection is made over HTTP. `now`: milliseconds. */
  usesHttp(now: number): boolean {
    return now < this.#httpUntil || this.#failures >= FAILURES_MAX
  }

  /** A WebSocket has ended without a close frame. `livedMs`: since its first message; null if none came. */
  webSocketBroke(livedMs: number | null): void {
    if (livedMs === null || livedMs < KILLED_MS) this.#failures += 1
    else this.#failures = 0
  }

  /** A WebSocket has got through, or has ended as the protocol wants. */
  webSocketWorks(): void {
    this.#failures = this.#httpUntil = 0
  }

  /** A message has come over HTTP, so only WebSockets are blocked. */
  httpWorks(now: number): void {
    this.#failures = 0
    this.#httpUntil = Math.max(this.#httpUntil, now + this.#retryMs)
  }

  /** Nothing comes over HTTP either, so the server or the network is away. */
  httpBroke(): void {
    this.#failures = 0
  }
}
