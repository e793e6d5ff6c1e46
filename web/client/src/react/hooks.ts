"use client"

import { useEffect, useRef, useSyncExternalStore } from "react"
import { StudyroomClient } from "../client.js"
import type {
  ChatMessage,
  Client,
  ClientEvent,
  ClientEventOf,
  ClientOptions,
  ConnectionState,
  Cursor,
  Limits,
  Member,
  Readable,
  RoomState,
} from "../types.js"
import { useClient } from "./context.js"
import { hold } from "./holds.js"
import { holdRoom, isAbout } from "./rooms.js"
import { useKept } from "./use-kept.js"

/** Reads a value of the client, or anything else with `get` and `subscribe`, and renders again when it changes. */
export function useReadable<T>({ subscribe, get }: Readable<T>): T {
  return useSyncExternalStore(subscribe, get, get)
}

/**
 * A client that is connected while the component is mounted. Another `url` makes another client. The other options are
 * those of the first render, except for `token`, which is that of the last one.
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

/**
 * Joins this room while the component is mounted. Several components may name the same room. If they name several, the
 * client is in the one that was named last, and the others have the status `none` until that component goes.
 */
export function useRoom(roomId: string): RoomState {
  const client = useClient()
  useEffect(() => holdRoom(client, roomId), [client, roomId])
  const state = useReadable(client.room)
  return isAbout(state, roomId) ? state : NO_ROOM
}

const NO_ROOM: RoomState = { status: "none" }

export function useConnection(): ConnectionState {
  return useReadable(useClient().connection)
}

export function useSelf(): Member | null {
  return useReadable(useClient().self)
}

export function useCursors(): ReadonlyMap<string, Cursor> {
  return useReadable(useClient().cursors)
}

/** The cursor of one member. Renders again only when that cursor moves. */
export function useCursor(userId: string): Cursor | null {
  const { cursors } = useClient()
  return useReadable({ subscribe: cursors.subscribe, get: () => cursors.get().get(userId) ?? null })
}

export function useTyping(): readonly Member[] {
  return useReadable(useClient().typing)
}

export interface Chat {
  messages: readonly ChatMessage[]
  /** Whether `loadEarlier` may find messages. */
  hasMore: boolean
  send: Client["sendChat"]
  retry: Client["retryChat"]
  discard: Client["discardChat"]
  loadEarlier: Client["loadEarlier"]
}

export function useChat(): Chat {
  const { messages, hasMore, sendChat, retryChat, discardChat, loadEarlier } = useClient()
  return {
    messages: useReadable(messages),
    hasMore: useReadable(hasMore),
    send: sendChat,
    retry: retryChat,
    discard: discardChat,
    loadEarlier,
  }
}

/** The limits of the server, for a field that counts characters. */
export function useLimits(): Limits {
  return useReadable(useClient().limits)
}

/** Calls the listener of the last render. */
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
