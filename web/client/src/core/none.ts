/** The empty list. All stores share this one, so that replacing an empty list with another changes nothing. */
export const NONE: readonly never[] = []
