/** Whether two texts name the same room. People and servers write a UUID in several forms. */
export function sameRoom(one: string | null, other: string | null): boolean {
  return one === other || (one !== null && other !== null && bare(one) === bare(other))
}

/** The digits of a UUID. */
function bare(id: string): string {
  return id.toLowerCase().replace(/^urn:uuid:|[{}-]/g, "")
}
