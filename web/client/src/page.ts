/** The globals of a page. Node, workers and servers have only some of them, or none. */
export const page: Partial<
  Pick<
    Window & typeof globalThis,
    "addEventListener" | "document" | "location" | "removeEventListener" | "requestAnimationFrame"
  >
> = globalThis
