/** Where one can sit on the board. A place is the `element_id` of a cursor, so everyone, also who comes later, sees it. */

import { hue } from "./face"

export interface Place {
  id: string
  name: string
  hint: string
  /** The middle of it, in fractions of the board: where somebody without a pointer sits down. */
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

/** Where in a place somebody sits: around its middle, so that those who share it do not hide each other. */
export function spotIn(place: Place, userId: string): { x: number; y: number } {
  const angle = (hue(userId) / 180) * Math.PI
  return { x: place.x + 0.12 * Math.cos(angle), y: place.y + 0.08 * Math.sin(angle) }
}
