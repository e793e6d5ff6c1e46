"use client"

import { createContext, createElement, type ReactNode, useContext } from "react"
import { livingChat } from "../living-chat.js"
import type { Client } from "../types.js"

const Current = createContext<Client | null>(null)

/** Offers a client to the hooks of the components inside. */
export function StudyroomProvider({ client, children }: { client: Client; children?: ReactNode }): ReactNode {
  // Components that show living chat may come later, and must not miss the edits of before.
  livingChat(client)
  return createElement(Current.Provider, { value: client }, children)
}

/** The client of the nearest `StudyroomProvider`. Throws Error outside of one. */
export function useClient(): Client {
  const client = useContext(Current)
  if (client === null)
    throw new Error("useClient and the hooks of a room need a <StudyroomProvider> around them")
  return client
}
