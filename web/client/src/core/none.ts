/** The empty list: one for all, so that nothing changes from none to none. */
export const NONE: readonly never[] = []
