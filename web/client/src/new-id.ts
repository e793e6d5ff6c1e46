/** A UUID of version 4. Pages over plain HTTP have no `crypto.randomUUID`, which needs a secure context. */
export function newId(): string {
  return "xxxxxxxx-xxxx-4xxx-8xxx-xxxxxxxxxxxx".replace(/x/g, digit)
}

function digit(): string {
  return ((crypto.getRandomValues(new Uint8Array(1))[0] as number) & 15).toString(16)
}
