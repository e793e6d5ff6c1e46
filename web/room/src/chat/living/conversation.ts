/** The calls of the lines of the chat to the chat around them. */

import type { LivingMessage } from "@studyroom/client/living-chat"
import { createContext, useContext } from "react"

export interface Conversation {
  /** Whether the server lets members change the chat. */
  offered: boolean
  /** Open the menu of a message beside its button. */
  open: (message: LivingMessage, button: HTMLElement) => void
  react: (message: LivingMessage, reaction: string, isOn: boolean) => void
  /** Show the message with this id, also if it has to be loaded first. */
  jump: (id: string) => void
}

export const CurrentConversation = createContext<Conversation | null>(null)

export function useConversation(): Conversation {
  return useContext(CurrentConversation) as Conversation
}

/** The newest stored message that this is true of. */
export function newest(
  messages: readonly LivingMessage[],
  is: (message: LivingMessage) => boolean = () => true,
): LivingMessage | undefined {
  for (let index = messages.length - 1; index >= 0; index--) {
    const message = messages[index] as LivingMessage
    if (message.state === "sent" && is(message)) return message
  }
  return undefined
}
