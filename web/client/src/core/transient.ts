import type { ErrorCode } from "../protocol.js"

const CODES = /unavailable|busy|limited|in_room|internal/

/** Whether the same request may succeed a little later. */
export function transient(code: ErrorCode): boolean {
  return CODES.test(code)
}
