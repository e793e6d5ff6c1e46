"use client"

import { useEffect, useRef } from "react"
import { useClient } from "./context.js"

/** An event of another member. */
export interface RoomEvent<Data = unknown> {
  userId: string
  data: Data
  key: string | null
}

/** Calls the listener of the last render for each event of this name that another member sends. */
export function useEvent<Data = unknown>(event: string, listener: (event: RoomEvent<Data>) => void): void {
  const client = useClient()
  const newest = useRef(listener)
  useEffect(() => {
    newest.current = listener
  })
  useEffect(
    () =>
      client.on("broadcast", ({ event: name, userId, data, key }) => {
        if (name === event) newest.current({ userId, data: data as Data, key })
      }),
    [client, event],
  )
}

/** Returns the function that sends an event to the other members. It is always the same. */
export function useBroadcast() {
  return useClient().broadcast
}
