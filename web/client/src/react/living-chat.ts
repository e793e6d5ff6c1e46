"use client"

import { type LivingChat, type LivingMessage, livingChat, type Target } from "../living-chat.js"
import type { Member } from "../types.js"
import { useClient } from "./context.js"
import { useReadable } from "./hooks.js"

/** Returns the messages as their edits and reactions have made them, and the calls that edit, delete and react. */
export function useLivingChat(): Omit<LivingChat, "messages"> & { messages: readonly LivingMessage[] } {
  const chat = livingChat(useClient())
  return { ...chat, messages: useReadable(chat.messages) }
}

/** Returns the other members that have read this message. */
export function useReadBy(target: Target): readonly Member[] {
  const client = useClient()
  useReadable(client.others)
  useReadable(client.room)
  return livingChat(client).readBy(target)
}
