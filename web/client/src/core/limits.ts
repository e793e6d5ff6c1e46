/** The limits of the server, and whether a message is within them. */

import type { ClientMessage, WelcomePayload } from "../protocol.js"
import type { Limits } from "../types.js"
import type { Check } from "./chat-queue.js"

/** The limits of servers whose `Welcome` names none, and before the first `Welcome`. */
export const DEFAULT_LIMITS: Limits = { messageBytes: 65_536, chatChars: 4000, historyLength: 50 }

const UTF8_BYTES_MAX = 3

export function statedLimits(welcome: WelcomePayload): Limits {
  return {
    messageBytes: welcome.message_max_bytes ?? DEFAULT_LIMITS.messageBytes,
    chatChars: welcome.chat_max_chars ?? DEFAULT_LIMITS.chatChars,
    historyLength: welcome.history_on_join ?? DEFAULT_LIMITS.historyLength,
  }
}

/** Says by how much the message is too long. Returns null for a message that the server takes. */
export function excess(message: ClientMessage, { messageBytes, chatChars }: Limits): string | null {
  const tooMany = (count: number, most: number, what: string) =>
    count > most ? `${count} ${what} are more than ${most}` : null
  const text = JSON.stringify(message)
  return (
    (message.type === "Chat" && tooMany(codePoints(message.payload.content), chatChars, "characters")) ||
    (text.length * UTF8_BYTES_MAX > messageBytes
      ? tooMany(new TextEncoder().encode(text).length, messageBytes, "bytes")
      : null)
  )
}

/** Says of chat messages whether the server would take them. */
export function checkedBy(limits: Limits): Check {
  return ({ content, id }) => {
    const message = excess({ type: "Chat", payload: { content, id } }, limits)
    return message === null ? null : { code: "chat_too_long", message }
  }
}

/** The characters of a text as the server counts them. A string counts halves of surrogate pairs. */
export function codePoints(text: string): number {
  return [...text].length
}
