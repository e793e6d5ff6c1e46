/**
 * Records that belong to a room, such as its timer. A record is in the presence of the member who wrote it, and the
 * newest one of all members counts. Pure: the clock is an argument. All times are Unix milliseconds of the server's
 * clock.
 */

/** The clocks of two servers may differ by this. */
const TOLERANCE_MS = 60_000
/** A member takes over a record that has lost its holder after this time for each member before them. */
const TURN_MS = 2000

export interface Stamped {
  /** The time at which somebody wrote it. */
  at: number
}

/** Whether a value of a presence has a time that may count. One in the future would win for ever. */
export function isStamped(value: unknown, now: number): value is Record<string, unknown> & Stamped {
  if (typeof value !== "object" || value === null) return false
  const { at } = value as { at?: unknown }
  return typeof at === "number" && at <= now + TOLERANCE_MS
}

/** The one that counts. */
export function newest<T extends Stamped>(records: readonly (T | null)[]): T | null {
  return records.reduce((best, one) => (one && (!best || isNewer(one, best)) ? one : best), null)
}

/** Two that were written at the same time have an order too, so that everyone sees the same. */
export function isNewer(one: Stamped, other: Stamped): boolean {
  if (one.at !== other.at) return one.at > other.at
  return JSON.stringify(one) > JSON.stringify(other)
}

function isSame(one: Stamped | null, other: Stamped | null): boolean {
  return one === other || (one !== null && other !== null && !isNewer(one, other) && !isNewer(other, one))
}

/** The thing that a member does about the record in their own presence. `inMs`: after this time, if nothing has changed. */
export type Duty = { type: "none" } | { type: "drop" } | { type: "take over"; inMs: number }

/**
 * `known`: the newest record that this member has seen. `lives`: whether it still matters. `own`: the one in their
 * presence. `others`: those of the others, by user id.
 */
export function duty<T extends Stamped>(
  known: T | null,
  lives: boolean,
  own: T | null,
  userId: string,
  others: ReadonlyMap<string, T | null>,
): Duty {
  if (own && known && isNewer(known, own)) return { type: "drop" }
  const held = isSame(own, known) || [...others.values()].some((one) => isSame(one, known))
  if (!lives || held) return { type: "none" }
  const before = [...others.keys()].filter((other) => other < userId).length
  return { type: "take over", inMs: before * TURN_MS }
}
