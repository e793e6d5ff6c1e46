/** A time that never comes. */
export const NEVER = Number.POSITIVE_INFINITY
