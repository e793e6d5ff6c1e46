/** What there is of a page: in Node, in workers and on servers not all of it, or nothing. */
export const page: Partial<
  Pick<
    Window & typeof globalThis,
    "addEventListener" | "document" | "location" | "removeEventListener" | "requestAnimationFrame"
  >
> = globalThis
