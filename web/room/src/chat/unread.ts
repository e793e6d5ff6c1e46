/** The part of the chat that its reader has seen, by positions of messages. Pure. */

import type { ChatMessage } from "@studyroom/client"

export interface Reading {
  /** The last position that the reader has seen, or null before the first. */
  seen: number | null
  /** The position after which the line "New" is shown. */
  line: number | null
}

export type Event =
  | { type: "looked"; last: number | null }
  | { type: "looked away" }
  | { type: "answered" }
  | { type: "positions are void" }

export const nothing: Reading = { seen: null, line: null }

export function read(reading: Reading, event: Event): Reading {
  switch (event.type) {
    case "looked":
      return event.last === null || event.last === reading.seen ? reading : { ...reading, seen: event.last }
    case "looked away":
      return { ...reading, line: reading.seen }
    case "answered":
      return { ...reading, line: null }
    case "positions are void":
      return nothing
  }
}

export function unread(messages: readonly ChatMessage[], { seen }: Reading): number {
  if (seen === null) return 0
  let count = 0
  for (let index = messages.length - 1; index >= 0; index--) {
    const { seq, own } = messages[index] as ChatMessage
    if (seq !== null && seq <= seen) break
    if (seq !== null && !own) count++
  }
  return count
}

/** The id of the message below the line "New": the first one of another user after it. */
export function firstNew(messages: readonly ChatMessage[], { line }: Reading): string | undefined {
  if (line === null) return undefined
  return messages.find(({ seq, own }) => seq !== null && seq > line && !own)?.id
}
