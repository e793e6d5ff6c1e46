/** The names that the server takes. It refuses others without saying which call they came from. */

import { codePoints } from "./limits.js"

const EVENT = /^[A-Za-z][\w.:-]{0,63}$/
const KEY_MAX = 128
const FIELD_MAX = 64

/** Throws TypeError for the name of an event, or a key, that the server refuses. */
export function checkEvent(event: string, key: string | undefined): void {
  if (!EVENT.test(event)) throw new TypeError(`not the name of an event: ${event}`)
  if (key !== undefined && !isWithin(key, KEY_MAX))
    throw new TypeError(`a key has 1 to ${KEY_MAX} characters`)
}

/** Throws TypeError for the name of a field that the server refuses. */
export function checkFields(change: object): void {
  for (const name of Object.keys(change))
    if (!isWithin(name, FIELD_MAX))
      throw new TypeError(`the name of a field has 1 to ${FIELD_MAX} characters`)
}

function isWithin(text: string, most: number): boolean {
  const length = codePoints(text)
  return length > 0 && length <= most
}
