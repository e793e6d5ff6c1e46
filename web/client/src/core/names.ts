/** The names that the server takes. It refuses others without saying which call they came from. */

const EVENT = /^[A-Za-z][\w.:-]{0,63}$/
const KEY = /^.{1,128}$/su
const FIELD = /^.{1,64}$/su

/** Throws TypeError for the name of an event, or a key, that the server refuses. */
export function checkEvent(event: string, key: string | undefined): void {
  check(EVENT, event)
  if (key !== undefined) check(KEY, key)
}

/** Throws TypeError for the name of a field that the server refuses. */
export function checkFields(change: object): void {
  for (const name of Object.keys(change)) check(FIELD, name)
}

function check(valid: RegExp, name: string): void {
  if (!valid.test(name)) throw new TypeError(`not a valid name: "${name}"`)
}
