/** The names that the server takes. It refuses others without saying which call they came from. */

import { codePoints } from "./limits.js"

const EVENT = /^[A-Za-z][\w.:-]{0,63}$/
const KEY_MAX = 128
const FIELD_MAX = 64

/** Throws TypeError for the name of an event, or a key, that the server refuses. */
export function checkEvent(event: string, key: string | undefined): void {
  check(EVENT.test(event), event)
  if (key !== undefined) checkLength(key, KEY_MAX)
}

/** Throws TypeError for the name of a field that the server refuses. */
export function checkFields(change: object): void {
  for (const name of Object.keys(change)) checkLength(name, FIELD_MAX)
}

function checkLength(name: string, most: number): void {
  check(name !== "" && codePoints(name) <= most, name)
}

function check(isValid: boolean, name: string): void {
  if (!isValid) throw new TypeError(`not a valid name: "${name}"`)
}
