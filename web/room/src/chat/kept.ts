/** The number of messages that the page keeps. */

const KEPT = 1000

let reading = false

/** Remember whether the reader is further up than the newest messages. Then no message goes, so nothing moves. */
export function keepAll(isReading: boolean): void {
  reading = isReading
}

export function kept(): number {
  return reading ? Number.POSITIVE_INFINITY : KEPT
}
