/** The rules for clients after a close, by code. They are the same as the server's. */

const TERMINAL = /^(100[02379]|4[5-9]\d\d)$/

export const NORMAL = 1000
export const GOING_AWAY = 1001
export const ABNORMAL = 1006
const SERVICE_RESTART = 1012

/** Whether to connect again. Unknown codes have an answer too. */
export function reconnects(code: number): boolean {
  return !TERMINAL.test(String(code))
}

/** The wait in milliseconds that a stopping server asks for, or null. */
export function hintedWait(code: number, reason: string): number | null {
  const found = hinted(code, reason, /reconnect_after_ms=(\d+)/)
  return found === null ? null : Number(found)
}

/** The value for `?room=` in the close reason of a server that asks its client to move, or null. */
export function hintedRoom(code: number, reason: string): string | null {
  return hinted(code, reason, /room_hint=([0-9a-f-]{36})/)
}

function hinted(code: number, reason: string, pattern: RegExp): string | null {
  return (code === SERVICE_RESTART && pattern.exec(reason)?.[1]) || null
}
