import { useChat, useClient, useReadable, useStudyroomEvent } from "@studyroom/client/react"
import { useState } from "react"

/** The way to messages before those that are shown. */
export interface EarlierMessages {
  /** Whether there are any. It is unknown until the server has said that the first message is shown. */
  more: "yes" | "no" | "unknown"
  busy: boolean
  failed: boolean
  /** Returns the number of messages that are shown in addition. */
  load: () => Promise<number>
  /** Ask the server whether the first message is shown, when the reader has come to it. */
  ask: () => void
}

export function useEarlier(): EarlierMessages {
  const client = useClient()
  const { hasMore, loadEarlier } = useChat()
  const joined = useReadable(client.room).status === "joined"
  const [asked, setAsked] = useState(false)
  const [busy, setBusy] = useState(false)
  const [failed, setFailed] = useState(false)
  useStudyroomEvent("historyReset", () => setAsked(false))

  const load = async (): Promise<number> => {
    if (busy) return 0
    setBusy(true)
    setFailed(false)
    try {
      let count = 0
      // Where all messages of a page were deleted, it is empty and leads to another one.
      do count = (await loadEarlier()).length
      while (count === 0 && client.hasMore.get())
      setAsked(true)
      return count
    } catch {
      setFailed(true)
      return 0
    } finally {
      setBusy(false)
    }
  }

  const ask = () => {
    if (joined && !hasMore && !asked && !failed) void load()
  }

  const more = hasMore || failed ? "yes" : asked ? "no" : "unknown"
  return { more, busy, failed, load, ask }
}
