import type { ErrorCode } from "../protocol.js"

const CODES = /unavailable|busy|limited|not_in_room|internal/

/** The same may succeed a little later. */
export function transient(code: ErrorCode): boolean {
  return CODES.test(code)
}
