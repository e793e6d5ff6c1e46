/** The name that people give a room. Pure. */

import { isBlank } from "@studyroom/client"
import { isStamped, type Stamped } from "../record/record"

/** In characters. */
export const LONGEST_NAME = 60

export interface RoomName extends Stamped {
  text: string
}

/** The name as one line, or null if people would see nothing. */
export function oneLine(text: string): string | null {
  const line = text.trim().replace(/\s+/g, " ")
  return isBlank(line) ? null : [...line].slice(0, LONGEST_NAME).join("")
}

/** The name in this value of a presence, or null. */
export function nameOf(value: unknown, now: number): RoomName | null {
  if (!isStamped(value, now) || typeof value.text !== "string") return null
  const text = oneLine(value.text)
  return text === null ? null : { at: value.at, text }
}
