import { useEffect, useRef, useSyncExternalStore } from "react"
import { StudyroomClient } from "../client.js"
import type {
  ChatMessage,
  ClientEvent,
  ClientEventOf,
  ClientOptions,
  ConnectionState,
  Cursor,
  Member,
  Readable,
  RoomState,
} from "../types.js"
import { useClient } from "./context.js"
import { hold } from "./holds.js"
import { useKept } from "./use-kept.js"

/** A value of the client, or of anything else that can be read and watched. */
export function useReadable<T>({ subscribe, get }: Readable<T>): T {
  return useSyncExternalStore(subscribe, get, get)
}

/**
 * A client that is connected for as long as the component is there; another one when `url` changes. Of the other options
 * those of the first render count, but `token` is always the one of the last.
 */
export function useStudyroom(options: ClientOptions): StudyroomClient {
  const newest = useRef(options)
  useEffect(() => {
    newest.current = options
  })
  const client = useKept(
    String(options.url),
    () => new StudyroomClient({ ...options, token: () => newestToken(newest.current) }),
  )
  useEffect(() => {
    client.connect()
    return hold(client, "connection", client.close)
  }, [client])
  return client
}

function newestToken({ token }: ClientOptions) {
  return typeof token === "function" ? token() : token
}

/** Be in this room for as long as the component is there. Several may name the same one. */
export function useRoom(roomId: string): RoomState {
  const client = useClient()
  useEffect(() => {
    client.join(roomId)
    return hold(client, `room ${roomId}`, () => {
      const room = client.room.get()
      if (room.status !== "none" && room.roomId === roomId) client.leave()
    })
  }, [client, roomId])
  return useReadable(client.room)
}

export function useConnection(): ConnectionState {
  return useReadable(useClient().connection)
}

export function useOthers(): readonly Member[] {
  return useReadable(useClient().others)
}

export function useSelf(): Member | null {
  return useReadable(useClient().self)
}

export function useCursors(): ReadonlyMap<string, Cursor> {
  return useReadable(useClient().cursors)
}

/** Of one member: renders again only when that one moves. */
export function useCursor(userId: string): Cursor | null {
  const { cursors } = useClient()
  return useReadable({ subscribe: cursors.subscribe, get: () => cursors.get().get(userId) ?? null })
}

export function useTyping(): readonly Member[] {
  return useReadable(useClient().typing)
}

export interface Chat {
  messages: readonly ChatMessage[]
  send: (content: string) => ChatMessage
  retry: (id: string) => void
  discard: (id: string) => void
}

export function useChat(): Chat {
  const client = useClient()
  const messages = useReadable(client.messages)
  return { messages, send: client.sendChat, retry: client.retryChat, discard: client.discardChat }
}

/** The listener may be another one with each render. */
export function useStudyroomEvent<T extends ClientEvent["type"]>(
  type: T,
  listener: (event: ClientEventOf<T>) => void,
): void {
  const client = useClient()
  const newest = useRef(listener)
  useEffect(() => {
    newest.current = listener
  })
  useEffect(() => client.on(type, (event) => newest.current(event)), [client, type])
}
