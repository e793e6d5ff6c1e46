/** Editors of shared documents with the providers that applications use, as npm has them. */

import { HocuspocusProvider, HocuspocusProviderWebsocket } from "@hocuspocus/provider"
import { expect, inject, vi } from "vitest"
import { WebSocket } from "ws"
import type { Awareness } from "y-protocols/awareness"
import { WebsocketProvider } from "y-websocket"
import * as Y from "yjs"
import { DEADLINE_MS, test as withClients } from "./fixture.js"
import { natsIn } from "./stack.js"

const WebSocketPolyfill = WebSocket as unknown as typeof globalThis.WebSocket

export interface Editor {
  doc: Y.Doc
  text: Y.Text
  awareness: Awareness
  /** Whether the provider says that everything is synced. */
  synced: () => boolean
  connect: () => void
  disconnect: () => void
  destroy: () => void
}

/** Opens a document on a gateway. The address is that of the gateway's rooms. */
export type Open = (url: string, room: string, name: string, options?: OpenOptions) => Editor

export interface OpenOptions {
  doc?: Y.Doc
  token?: string
  connect?: boolean
}

export function documentsAt(url: string, room: string): string {
  return `${url.replace(/^http/, "ws").replace(/\/(ws)?$/, "")}/documents/${room}`
}

const openWithYWebsocket: Open = (url, room, name, { doc = new Y.Doc(), token, connect = true } = {}) => {
  const params: Record<string, string> = token === undefined ? {} : { access_token: token }
  const provider = new WebsocketProvider(documentsAt(url, room), name, doc, {
    WebSocketPolyfill,
    disableBc: true,
    connect,
    params,
    maxBackoffTime: 300,
  })
  return {
    doc,
    text: doc.getText("text"),
    awareness: provider.awareness,
    synced: () => provider.synced,
    connect: () => provider.connect(),
    disconnect: () => provider.disconnect(),
    destroy: () => provider.destroy(),
  }
}

const openWithHocuspocus: Open = (
  url,
  room,
  name,
  { doc = new Y.Doc(), token = "", connect = true } = {},
) => {
  const websocketProvider = new HocuspocusProviderWebsocket({
    url: documentsAt(url, room),
    WebSocketPolyfill,
    autoConnect: connect,
    delay: 50,
    minDelay: 50,
    maxDelay: 300,
  })
  const provider = new HocuspocusProvider({ websocketProvider, name, document: doc, token })
  provider.attach()
  if (provider.awareness === null) throw new Error("no awareness")
  return {
    doc,
    text: doc.getText("text"),
    awareness: provider.awareness as Awareness,
    synced: () => provider.synced && !provider.hasUnsyncedChanges,
    connect: () => void websocketProvider.connect(),
    disconnect: () => websocketProvider.disconnect(),
    destroy: () => {
      provider.destroy()
      websocketProvider.destroy()
    },
  }
}

export const PROVIDERS: [string, Open][] = [
  ["y-websocket", openWithYWebsocket],
  ["Hocuspocus", openWithHocuspocus],
]

interface Fixture {
  /** The process of NATS. */
  nats: () => number
  /** Opens documents, and closes them at the end of the test. */
  open: (how: Open, ...options: Parameters<Open>) => Editor
}

export const test = withClients.extend<Fixture>({
  // biome-ignore lint/correctness/noEmptyPattern: the runner reads which fixtures are used
  nats: async ({}, use) => {
    await use(() => natsIn(inject("stackTable")))
  },
  // biome-ignore lint/correctness/noEmptyPattern: the runner reads which fixtures are used
  open: async ({}, use) => {
    const editors: Editor[] = []
    await use((how, ...options) => {
      const editor = how(...options)
      editors.push(editor)
      return editor
    })
    for (const editor of editors) editor.destroy()
  },
})

export async function eventually(check: () => void, timeout = DEADLINE_MS): Promise<void> {
  await vi.waitFor(check, { timeout, interval: 10 })
}

export async function allSynced(...editors: Editor[]): Promise<void> {
  await eventually(() => expect(editors.map((editor) => editor.synced())).toEqual(editors.map(() => true)))
}

/** All have the same text, with these parts in any order. */
export async function allHave(editors: Editor[], ...parts: string[]): Promise<void> {
  await eventually(() => {
    const texts = editors.map(({ text }) => text.toString())
    for (const text of texts) expect(text).toBe(texts[0])
    for (const part of parts) expect(texts[0]).toContain(part)
  })
}
