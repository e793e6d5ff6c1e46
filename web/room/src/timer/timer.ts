/** The timer of a room. Pure: the clock is an argument. All times are Unix milliseconds of the server's clock. */

import { isStamped, type Stamped } from "../record/record"

export type Kind = "focus" | "break"

export interface Timer extends Stamped {
  kind: Kind | "stopped"
  until: number
}

/** The lengths that the page offers, in minutes. */
export const LENGTHS: Readonly<Record<Kind, readonly number[]>> = { focus: [25, 50], break: [5, 15] }

/** The time for which the page shows that a timer is over. */
export const SHOWN_OVER_MS = 60_000
const LONGEST_MS = 4 * 3_600_000

/** The timer in this value of a presence, or null. */
export function timerOf(value: unknown, now: number): Timer | null {
  if (!isStamped(value, now)) return null
  const { at, kind, until } = value
  if (kind !== "focus" && kind !== "break" && kind !== "stopped") return null
  const sane = typeof until === "number" && until >= at && until - at <= LONGEST_MS
  return sane ? { at, kind, until } : null
}

export function isRunning(timer: Timer | null, now: number): timer is Timer & { kind: Kind } {
  return timer !== null && timer.kind !== "stopped" && now < timer.until
}

/** Whether the page still shows the timer, as running or as over. */
export function isShown(timer: Timer | null, now: number): timer is Timer & { kind: Kind } {
  return timer !== null && isRunning(timer, now - SHOWN_OVER_MS)
}

/** Minutes and seconds, such as 24:05. */
export function inWords(leftMs: number): string {
  const seconds = Math.max(0, Math.ceil(leftMs / 1000))
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`
}
