/** Which cursors are shown. Pure: the clock is an argument. */

import type { Cursor } from "@studyroom/client"
import { placeOf } from "../places"

/** The `element_id` of a cursor that points at nothing, because its user has left the board or the tab. */
export const AWAY = "away"
/** A cursor that has rested for this long is hidden: its user looks at something else, or the tab is frozen. */
export const REST_MS = 8000

/**
 * The time until which a cursor is shown, on the clock of its `at`. A user in a place has no end: the cursor shows
 * where they sit.
 */
export function shownUntil({ elementId, at }: Pick<Cursor, "elementId" | "at">): number {
  if (elementId === AWAY) return Number.NEGATIVE_INFINITY
  return placeOf(elementId) ? Number.POSITIVE_INFINITY : at + REST_MS
}
