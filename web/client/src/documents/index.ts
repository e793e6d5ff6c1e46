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

/** The options of the client, so that the document has the same user. */
export interface DocumentOptions
  extends Pick<ClientOptions, "url" | "token" | "username" | "identity" | "WebSocket"> {
  /** A document to go on with, such as one that was loaded from the browser's storage. A new one by default. */
  doc?: Doc
}

/**
 * - `connecting`: there is no connection.
 * - `saving`: there are edits that the server has not stored yet, or edits of others that have not come yet.
 * - `synced`: the server has stored all edits, and all edits of others were here.
 * - `refused`: the user may not open the document. `reason` says why.
 */
export type DocumentState =
  | { status: "connecting" | "saving" | "synced" }
  | { status: "refused"; reason: string }

export interface SharedDocument {
  readonly doc: Doc
  /** Cursors and names of the people who edit it. */
  readonly awareness: Awareness
  readonly state: Readable<DocumentState>
  /** Why the last edit was refused; null if none was. The edit stays in `doc` alone. */
  readonly refusal: Readable<string | null>
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
  const refusal = new Store<string | null>(changes, null)
  const identity = new Identity(options)
  const socket = new HocuspocusProviderWebsocket({
    url: documentsAddress(options.url, roomId, {}),
    autoConnect: false,
    ...(options.WebSocket ? { WebSocketPolyfill: options.WebSocket } : {}),
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
  const show = () => {
    if (state.get().status === "refused") return
    const saved = provider.isSynced && !provider.hasUnsyncedChanges
    const status = isConnected ? (saved ? "synced" : "saving") : "connecting"
    if (state.get().status !== status) changes.run(() => state.set({ status }))
  }
  provider.on("status", ({ status }: { status: string }) => {
    isConnected = status === "connected"
    show()
  })
  for (const event of ["synced", "unsyncedChanges", "close"]) provider.on(event, show)
  provider.on("authenticationFailed", ({ reason }: { reason: string }) => {
    changes.run(() => state.set({ status: "refused", reason }))
    socket.disconnect()
  })
  provider.on("stateless", ({ payload }: { payload: string }) => {
    const { type, message } = JSON.parse(payload) as { type: string; message: string }
    if (type === "EditRefused") changes.run(() => refusal.set(message))
  })
  provider.attach()
  identity.query().then(
    ({ username, guest_token }) => {
      socket.configuration.url = documentsAddress(options.url, roomId, { username, guest_token })
      return socket.connect()
    },
    (error: Error) => changes.run(() => state.set({ status: "refused", reason: error.message })),
  )
  return {
    doc: provider.document,
    awareness: provider.awareness as Awareness,
    state,
    refusal,
    close() {
      provider.destroy()
      socket.destroy()
    },
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
