/** A time that does not come. */
export const NEVER = Number.POSITIVE_INFINITY
