/**
 * Shared documents of a room, as documents of Yjs. It stands on `yjs` and `@hocuspocus/provider`, which the application
 * installs.
 */

import { HocuspocusProvider, HocuspocusProviderWebsocket } from "@hocuspocus/provider"
import type { Awareness } from "y-protocols/awareness"
import type { Doc } from "yjs"
import { httpAddress } from "../address.js"
import { Identity } from "../identity.js"
import { Changes, Store } from "../store.js"
import type { ClientOptions, Readable } from "../types.js"

/** RFC 6455, 7.4.1: the server has closed the connection because a message was too large. */
const TOO_LARGE = 1009
/** The longest pause between two attempts to connect. */
const RETRY_MAX_MS = 10_000
/** The user may take back an edit that was too large. The document connects again this long after a change. */
const AFTER_CHANGE_MS = 1000
/** The states that nothing follows. */
const LAST: ReadonlySet<string> = new Set(["refused", "deleted"])

/** The options of the client, so that the document has the same user. */
export interface DocumentOptions
  extends Pick<ClientOptions, "url" | "token" | "tokenInAddress" | "username" | "identity" | "WebSocket"> {
  /** A document to go on with, such as one that was loaded from the browser's storage. A new one by default. */
  doc?: Doc
}

/**
 * - `connecting`: there is no connection.
 * - `saving`: there are edits that the server has not stored yet, or edits of others that have not come yet.
 * - `synced`: the server has stored all edits, and all edits of others were here.
 * - `refused`: the user may not open the document. `reason` says why.
 * - `deleted`: the document was deleted, and the connection has ended. `doc` keeps what it had, and nothing of it goes to
 *   the server any more. `unsaved`: it has edits that the server has not stored. Show them to the user before you
 *   `close()` this copy, and open the document again for a new and empty one.
 */
export type DocumentState =
  | { status: "connecting" | "saving" | "synced" }
  | { status: "refused"; reason: string }
  | { status: "deleted"; unsaved: boolean }

/** Why edits are refused. `message` is for developers. */
export interface EditRefusal {
  /**
   * - `read_only`: the user may only read the document.
   * - `too_large`: the server takes no edit of this size. The document tries again after the next change.
   * - `full`: the document is so large that it takes no more edits.
   * - `too_many_documents`: nobody has written in the document, and the room has as many others as it may have.
   * - `malformed`: the edit was not a valid update.
   *
   * Servers may have more.
   */
  code: string
  message: string
}

export interface SharedDocument {
  readonly doc: Doc
  /** Cursors and names of the people who edit it. */
  readonly awareness: Awareness
  readonly state: Readable<DocumentState>
  /** Whether the user may write; null until the server has said so, and false when the document was deleted. */
  readonly mayWrite: Readable<boolean | null>
  /** Why edits are refused; null if none is, and when everything is stored again. They stay in `doc` alone. */
  readonly refusal: Readable<EditRefusal | null>
  /** End the connection. `doc` stays usable. */
  close(): void
}

/**
 * Opens a document of a room, and keeps it connected. `name`: 1 to 64 letters, digits, `-` and `_`. `options`: those of the
 * client. Guests are the same user as in the room if they have an `identity` in the browser's storage and the client has
 * been connected before. Throws StudyroomError (`invalid_url`).
 */
export function openDocument(options: DocumentOptions, roomId: string, name: string): SharedDocument {
  const changes = new Changes()
  const state = new Store<DocumentState>(changes, { status: "connecting" })
  const refusal = new Store<EditRefusal | null>(changes, null)
  const mayWrite = new Store<boolean | null>(changes, null)
  const identity = new Identity(options)
  const Connection = options.WebSocket ?? WebSocket
  let protocols: string[] | undefined
  const socket = new HocuspocusProviderWebsocket({
    url: documentsAddress(options.url, roomId, {}),
    autoConnect: false,
    maxDelay: RETRY_MAX_MS,
    WebSocketPolyfill: class {
      constructor(url: string) {
        // biome-ignore lint/correctness/noConstructorReturn: the provider knows no subprotocols
        return new Connection(url, protocols)
      }
    },
  })
  const provider = new HocuspocusProvider({
    websocketProvider: socket,
    name,
    ...(options.doc ? { document: options.doc } : {}),
    token: async () => {
      const { access_token } = await identity.query()
      return access_token ?? ""
    },
  })
  let isConnected = false
  let unsaved = options.doc !== undefined
  provider.document.on("update", (_update: Uint8Array, origin: unknown) => {
    unsaved ||= origin !== provider
  })
  const isOver = () => LAST.has(state.get().status)
  const show = () => {
    if (isOver()) return
    const saved = provider.isSynced && !provider.hasUnsyncedChanges
    const status = isConnected ? (saved ? "synced" : "saving") : "connecting"
    changes.run(() => {
      if (state.get().status !== status) state.set({ status })
      if (status === "synced") refusal.set(null)
    })
    if (status === "synced") unsaved = false
  }
  const refuse = (reason: string) => {
    if (isOver()) return
    changes.run(() => state.set({ status: "refused", reason }))
    socket.disconnect()
  }
  let isEnded = false
  const end = () => {
    if (isEnded) return
    isEnded = true
    clearTimeout(retry)
    provider.document.off("update", retryAfterChange)
    provider.destroy()
    socket.destroy()
  }
  const wasDeleted = () => {
    if (isOver()) return
    changes.run(() => {
      state.set({ status: "deleted", unsaved })
      mayWrite.set(false)
      refusal.set(null)
    })
    end()
  }
  let retry: ReturnType<typeof setTimeout> | undefined
  const retryAfterChange = () => {
    clearTimeout(retry)
    retry = setTimeout(() => {
      provider.document.off("update", retryAfterChange)
      void socket.connect()
    }, AFTER_CHANGE_MS)
  }
  provider.on("status", ({ status }: { status: string }) => {
    isConnected = status === "connected"
    show()
  })
  for (const event of ["synced", "unsyncedChanges"]) provider.on(event, show)
  provider.on("close", ({ event }: { event: { code: number } }) => {
    show()
    if (event.code !== TOO_LARGE) return
    // The same edit would be refused again and again.
    socket.disconnect()
    provider.document.on("update", retryAfterChange)
    changes.run(() => refusal.set({ code: "too_large", message: "an edit is too large" }))
  })
  provider.on("authenticated", ({ scope }: { scope: string }) =>
    changes.run(() => mayWrite.set(scope !== "readonly")),
  )
  provider.on("authenticationFailed", ({ reason }: { reason: string }) => refuse(reason))
  provider.on("stateless", ({ payload }: { payload: string }) => {
    const { type, reason, message } = JSON.parse(payload) as Record<"type" | "reason" | "message", string>
    if (type === "DocumentDeleted" || (type === "EditRefused" && reason === "deleted")) wasDeleted()
    else if (type === "EditRefused") changes.run(() => refusal.set({ code: reason, message }))
  })
  provider.attach()
  identity.credentials().then(
    (credentials) => {
      if (isEnded) return
      // An access token is in the message for it, and that of a guest in the handshake.
      const { access_token: _, ...query } = credentials.query
      protocols = credentials.protocols?.filter((one) => !one.startsWith("access_token."))
      socket.configuration.url = documentsAddress(options.url, roomId, query)
      return socket.connect()
    },
    (error: Error) => refuse(error.message),
  )
  return {
    doc: provider.document,
    awareness: provider.awareness as Awareness,
    state,
    mayWrite,
    refusal,
    close: end,
  }
}

function documentsAddress(
  url: string | URL,
  roomId: string,
  query: Record<string, string | null | undefined>,
): string {
  const address = httpAddress(url, `documents/${roomId}`, query)
  address.protocol = address.protocol.replace("http", "ws")
  return address.href
}
