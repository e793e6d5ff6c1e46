/**
 * The places on the board where users can sit. A place is the `element_id` of a cursor, so everyone sees it, also
 * members who join later.
 */

import { hue } from "./face"

export interface Place {
  id: string
  /** The names of its texts. */
  name: "placeFocus" | "placeTogether" | "placeQuestion" | "placeBreak"
  hint: `${Place["name"]}Hint`
  /** The middle, in fractions of the board. Users without a pointer sit down there. */
  x: number
  y: number
}

export const PLACES: readonly Place[] = [
  { id: "focus", name: "placeFocus", hint: "placeFocusHint", x: 0.25, y: 0.3 },
  { id: "together", name: "placeTogether", hint: "placeTogetherHint", x: 0.75, y: 0.3 },
  { id: "question", name: "placeQuestion", hint: "placeQuestionHint", x: 0.25, y: 0.8 },
  { id: "break", name: "placeBreak", hint: "placeBreakHint", x: 0.75, y: 0.8 },
]

export function placeOf(elementId: string | null | undefined): Place | undefined {
  return PLACES.find((place) => place.id === elementId)
}

/** The spot of a user in a place. It is around the middle, so that users who share a place do not hide each other. */
export function spotIn(place: Place, userId: string): { x: number; y: number } {
  const angle = (hue(userId) / 180) * Math.PI
  return { x: place.x + 0.12 * Math.cos(angle), y: place.y + 0.08 * Math.sin(angle) }
}
