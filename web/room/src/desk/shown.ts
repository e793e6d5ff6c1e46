/** The hand and the status that members show in their presence. Pure. Other clients may write anything there. */

import { isBlank, type Member, type Presence } from "@studyroom/client"

/** In characters. */
export const LONGEST_STATUS = 80

/** The time at which the member raised a hand, in Unix milliseconds, or null if it is down. */
export function handOf({ hand }: Presence): number | null {
  return typeof hand === "number" && Number.isFinite(hand) ? hand : null
}

/** The status as one line, or null if there is none. */
export function statusOf({ status }: Presence): string | null {
  if (typeof status !== "string" || isBlank(status)) return null
  const line = status.trim().replace(/\s+/g, " ")
  return [...line].slice(0, LONGEST_STATUS).join("")
}

/** Members with a raised hand come first, in the order in which they raised it. */
export function handsFirst(members: readonly Member[]): readonly Member[] {
  const raised = members.filter(({ presence }) => handOf(presence) !== null)
  if (raised.length === 0) return members
  const since = ({ presence }: Member) => handOf(presence) as number
  raised.sort((one, other) => since(one) - since(other))
  return [...raised, ...members.filter(({ presence }) => handOf(presence) === null)]
}
