/** Whether two texts name the same room. People and servers write a UUID in several forms. */
export function sameRoom(one: string | null, other: string | null): boolean {
  return bare(one) === bare(other)
}

/** The digits of a UUID. */
function bare(id: string | null): string | undefined {
  return id?.toLowerCase().replace(/^urn:uuid:|[{}-]/g, "")
}
