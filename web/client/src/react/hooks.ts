import { useEffect, useState, useSyncExternalStore } from "react"
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

function useReadable<T>(readable: Readable<T>): T {
  return useSyncExternalStore(readable.subscribe, readable.get, readable.get)
}

/** A client that is connected for as long as the component is there; another one when `url` changes. */
export function useStudyroom(options: ClientOptions): StudyroomClient {
  const [client] = useState(() => new StudyroomClient(options))
  return client
}

/** Be in this room for as long as the component is there. */
export function useRoom(roomId: string): RoomState {
  const client = useClient()
  useEffect(() => {
    client.join(roomId)
    return () => client.leave()
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
  const get = () => cursors.get().get(userId) ?? null
  return useSyncExternalStore(cursors.subscribe, get, get)
}

export function useTyping(): readonly Member[] {
  return useReadable(useClient().typing)
}

export interface Chat {
  messages: readonly ChatMessage[]
  send: (content: string) => void
  retry: (id: string) => void
  discard: (id: string) => void
}

export function useChat(): Chat {
  const client = useClient()
  return {
    messages: useReadable(client.messages),
    send: client.sendChat,
    retry: client.retryChat,
    discard: client.discardChat,
  }
}

/** The listener may be another one with each render. */
export function useStudyroomEvent<T extends ClientEvent["type"]>(
  type: T,
  listener: (event: ClientEventOf<T>) => void,
): void {
  const client = useClient()
  useEffect(() => client.on(type, listener), [client, type, listener])
}
