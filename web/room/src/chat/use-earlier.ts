import type { ChatMessage, ChatPayload } from "@studyroom/client"
import { useClient, useReadable, useSelf, useStudyroomEvent } from "@studyroom/client/react"
import { useLayoutEffect, useMemo, useReducer, useRef, useState } from "react"
import { firstPosition, older, released, unasked } from "./older"

interface Page {
  messages: ChatPayload[]
  before: number | null
}

/**
 * Messages older than those of the connection, loaded over plain HTTP a page at a time. `reading`: whether the reader
 * is further up than the newest messages.
 */
export function useEarlier(roomId: string, messages: readonly ChatMessage[], reading: boolean) {
  const self = useSelf()?.userId
  const joined = useReadable(useClient().room).status === "joined"
  const [state, change] = useReducer(older, unasked)
  const [busy, setBusy] = useState(false)
  const [failed, setFailed] = useState(false)
  const deleted = useRef(new Set<number>())
  const previous = useRef(messages)
  /** Whether messages of the history are still to come. */
  const awaited = useRef(false)
  const first = firstPosition(messages)
  const before = state.before ?? first

  useStudyroomEvent("message", ({ message }) => {
    if (message.type === "JoinedRoom") awaited.current = (message.payload.history ?? 0) > 0
    if (message.type !== "ChatDeleted") return
    const { deleted_seq: seq } = message.payload
    deleted.current.add(seq)
    change({ type: "deleted", seq })
  })
  useStudyroomEvent("historyReset", () => {
    previous.current = []
    change({ type: "replaced" })
  })
  useLayoutEffect(() => {
    const gone = released(previous.current, messages, deleted.current)
    previous.current = messages
    if (gone.length > 0) change({ type: "released", messages: gone, reading })
  }, [messages, reading])

  const attempt = async (work: () => Promise<void>) => {
    if (busy) return
    setBusy(true)
    setFailed(false)
    try {
      await work()
    } catch {
      setFailed(true)
    } finally {
      setBusy(false)
    }
  }

  /** Returns the number of messages that are shown in addition. */
  const load = async (): Promise<number> => {
    let count = 0
    await attempt(async () => {
      const page = await newestBefore(roomId, before, deleted.current)
      count = page.messages.length
      const shown = page.messages.map((stored) => asMessage(stored, self))
      change({ type: "loaded", messages: shown, before: page.before })
    })
    return count
  }

  /** Ask the server whether there are earlier messages, when the reader has come to the first one. */
  const ask = () => {
    const known = state.more !== "unknown" || failed
    if (known || !joined || (first === null && awaited.current)) return
    attempt(async () => {
      const page = await request(roomId, before, 1)
      const upTo = firstPosition(previous.current)
      // Without a position, the answer may be about messages that have come meanwhile.
      if (before !== null || upTo === null)
        change({ type: "asked", more: page.messages.length > 0 || page.before !== null })
    })
  }

  const all = useMemo(() => {
    const fitting = state.messages.filter(({ seq }) => first === null || (seq !== null && seq < first))
    return fitting.length > 0 ? [...fitting, ...messages] : messages
  }, [state.messages, messages, first])
  const more = state.more === "unknown" && failed ? "yes" : state.more
  return { all, more, busy, failed, load, ask }
}

/** The next page that has messages. Where all messages of a page were deleted, it is empty and leads to another one. */
async function newestBefore(
  roomId: string,
  before: number | null,
  deleted: ReadonlySet<number>,
): Promise<Page> {
  const page = await request(roomId, before)
  const messages = page.messages.filter(({ seq }) => !deleted.has(seq))
  if (messages.length === 0 && page.before !== null) return newestBefore(roomId, page.before, deleted)
  return { messages, before: page.before }
}

/** Throws if the server does not answer with a page. */
async function request(roomId: string, before: number | null, limit = 50): Promise<Page> {
  const address = new URL(`api/v1/rooms/${roomId}/messages`, document.baseURI)
  address.searchParams.set("limit", String(limit))
  if (before !== null) address.searchParams.set("before", String(before))
  const answer = await fetch(address)
  if (!answer.ok) throw new Error(`the server answered with ${answer.status}`)
  return (await answer.json()) as Page
}

function asMessage({ user_id, ...stored }: ChatPayload, self: string | undefined): ChatMessage {
  return { ...stored, userId: user_id, own: user_id === self, state: "sent" }
}
