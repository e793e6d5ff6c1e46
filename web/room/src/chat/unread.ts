/** What of the chat its reader has seen. Positions are those of messages; pure. */

import type { ChatMessage } from "@studyroom/client"

export interface Reading {
  /** The last position that was before the reader's eyes; null before the first. */
  seen: number | null
  /** The line "new" stands behind this position. */
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

/** The id of the message above which the line stands: the first of somebody else behind it. */
export function firstNew(messages: readonly ChatMessage[], { line }: Reading): string | undefined {
  if (line === null) return undefined
  return messages.find(({ seq, own }) => seq !== null && seq > line && !own)?.id
}
