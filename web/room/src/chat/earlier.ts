import type { ChatMessage, ChatPayload } from "@studyroom/client"
import { useSelf, useStudyroomEvent } from "@studyroom/client/react"
import { useMemo, useState } from "react"

/** As many messages as a newcomer gets: with fewer there is nothing before them. */
const OF_A_NEWCOMER = 50

interface Loaded {
  messages: ChatMessage[]
  /** Where the page before these ends; null when there is none. */
  before: number | null
  /** The message they were loaded for: when the list does not begin with it any more, they no longer fit. */
  upTo: number
}

/** Messages older than those of the connection, a page at a time over plain HTTP. */
export function useEarlier(roomId: string, messages: readonly ChatMessage[]) {
  const self = useSelf()?.userId
  const [state, setState] = useState<Loaded | null>(null)
  const [deleted, setDeleted] = useState<ReadonlySet<number>>(new Set())
  const [busy, setBusy] = useState(false)
  const first = messages[0]?.seq ?? null
  const loaded = state !== null && state.upTo === first ? state : null
  const before = loaded ? loaded.before : messages.length >= OF_A_NEWCOMER ? first : null

  useStudyroomEvent("message", ({ message }) => {
    if (message.type !== "ChatDeleted") return
    const { deleted_seq } = message.payload
    setDeleted((others) => new Set(others).add(deleted_seq))
  })

  const load = async () => {
    if (before === null || first === null || busy) return
    setBusy(true)
    try {
      const address = new URL(`api/v1/rooms/${roomId}/messages?before=${before}`, document.baseURI)
      const answer = await fetch(address)
      if (!answer.ok) return
      const page = (await answer.json()) as { messages: ChatPayload[]; before: number | null }
      const older = page.messages.map((stored) => shown(stored, self))
      setState({ messages: [...older, ...(loaded?.messages ?? [])], before: page.before, upTo: first })
    } catch {
      // The button stays: it can be pressed again.
    } finally {
      setBusy(false)
    }
  }

  const all = useMemo(() => {
    const older = loaded?.messages.filter(({ seq }) => seq !== null && !deleted.has(seq)) ?? []
    return older.length > 0 ? [...older, ...messages] : messages
  }, [loaded, messages, deleted])
  return { all, more: before !== null, busy, load }
}

function shown({ user_id, ...stored }: ChatPayload, self: string | undefined): ChatMessage {
  return { ...stored, userId: user_id, own: user_id === self, state: "sent" }
}
