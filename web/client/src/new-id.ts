/** A UUID of version 4. `crypto.randomUUID` is there in secure contexts only, and a page may come over plain HTTP. */
export function newId(): string {
  return "xxxxxxxx-xxxx-4xxx-8xxx-xxxxxxxxxxxx".replace(/x/g, digit)
}

function digit(): string {
  return ((crypto.getRandomValues(new Uint8Array(1))[0] as number) & 15).toString(16)
}
