/** What a close code asks of a client; the same rules as the server's. */

const TERMINAL = [1000, 1002, 1003, 1007, 1009]

export const NORMAL = 1000
export const GOING_AWAY = 1001
export const ABNORMAL = 1006
const SERVICE_RESTART = 1012

/** Total: every code has an answer, also those to come. */
export function reconnects(code: number): boolean {
  return !TERMINAL.includes(code) && (code < 4500 || code > 4999)
}

/** How long a server that stops asks to wait; null when it does not. */
export function hintedWait(code: number, reason: string): number | null {
  const found = code === SERVICE_RESTART && /reconnect_after_ms=(\d+)/.exec(reason)
  return found ? Number(found[1]) : null
}
