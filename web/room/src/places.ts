/**
 * The places on the board where users can sit. A place is the `element_id` of a cursor, so everyone sees it, also
 * members who join later.
 */

import { hue } from "./face"

export interface Place {
  id: string
  name: string
  hint: string
  /** The middle, in fractions of the board. Users without a pointer sit down there. */
  x: number
  y: number
}

export const PLACES: readonly Place[] = [
  { id: "focus", name: "Deep focus", hint: "Quiet, please", x: 0.25, y: 0.3 },
  { id: "together", name: "Working together", hint: "Pull up a chair", x: 0.75, y: 0.3 },
  { id: "question", name: "Stuck on something", hint: "Come and help", x: 0.25, y: 0.8 },
  { id: "break", name: "On a break", hint: "Back soon", x: 0.75, y: 0.8 },
]

export function placeOf(elementId: string | null | undefined): Place | undefined {
  return PLACES.find((place) => place.id === elementId)
}

/** The spot of a user in a place. It is around the middle, so that users who share a place do not hide each other. */
export function spotIn(place: Place, userId: string): { x: number; y: number } {
  const angle = (hue(userId) / 180) * Math.PI
  return { x: place.x + 0.12 * Math.cos(angle), y: place.y + 0.08 * Math.sin(angle) }
}
