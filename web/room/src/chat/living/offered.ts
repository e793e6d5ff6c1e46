/** Whether the server lets members edit, delete, react, reply and mention. */

import type { Client } from "@studyroom/client"
import { useReadable } from "@studyroom/client/react"
import { atom } from "nanostores"

const offered = atom(false)

/** Learn it from `Welcome`, with every connection. */
export function watchOffer(client: Client): void {
  client.on("message", ({ message }) => {
    if (message.type === "Welcome") offered.set(message.payload.living_chat === true)
  })
}

const readable = { get: () => offered.get(), subscribe: (listener: () => void) => offered.listen(listener) }

export const useOffered = (): boolean => useReadable(readable)
