/** The messages before those of the connection: which are loaded, and whether there are more. Pure. */

import type { ChatMessage } from "@studyroom/client"

export interface Older {
  /** The oldest first. Each is older than the messages of the connection. */
  messages: readonly ChatMessage[]
  /** The position at which the next page ends, or null if it ends at the first message that is shown. */
  before: number | null
  /** Whether the server has messages before all that are shown. */
  more: "yes" | "no" | "unknown"
}

export type Change =
  | { type: "loaded"; messages: readonly ChatMessage[]; before: number | null }
  | { type: "asked"; more: boolean }
  /** The connection has let go of its oldest messages. */
  | { type: "released"; messages: readonly ChatMessage[]; reading: boolean }
  | { type: "deleted"; seq: number }
  /** The messages of the connection are others now. */
  | { type: "replaced" }

export const unasked: Older = { messages: [], before: null, more: "unknown" }

export function older(state: Older, change: Change): Older {
  switch (change.type) {
    case "loaded": {
      const { messages, before } = change
      return { messages: [...messages, ...state.messages], before, more: before === null ? "no" : "yes" }
    }
    case "asked":
      return { ...state, more: change.more ? "yes" : "no" }
    case "released":
      // Messages that nobody looks at are loaded again when somebody asks for them.
      if (!change.reading) return { ...unasked, more: "yes" }
      return { ...state, messages: [...state.messages, ...change.messages] }
    case "deleted":
      return { ...state, messages: state.messages.filter(({ seq }) => seq !== change.seq) }
    case "replaced":
      return unasked
  }
}

/** The first position in a list, or null if no message in it is stored. */
export function firstPosition(messages: readonly ChatMessage[]): number | null {
  return messages[0]?.seq ?? null
}

/** The messages of `previous` that are older than all of `next`. */
export function released(
  previous: readonly ChatMessage[],
  next: readonly ChatMessage[],
  deleted: ReadonlySet<number>,
): ChatMessage[] {
  const first = firstPosition(next)
  if (first === null) return []
  return previous.filter(({ seq }) => seq !== null && seq < first && !deleted.has(seq))
}
