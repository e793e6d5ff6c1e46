import type { DocumentState } from "@studyroom/client/documents"
import { afterEach, expect, it, vi } from "vitest"
import { applyUpdate, Doc, encodeStateAsUpdate, XmlElement, XmlText } from "yjs"
import { Unsaved } from "../src/notes/unsaved"

const ROOM = "550e8400-e29b-41d4-a716-446655440000"

/** The part of `Storage` that the notes use. Its keys are its own properties, as in browsers. */
class Storage {
  getItem(key: string): string | null {
    return (this as unknown as Record<string, string>)[key] ?? null
  }
  setItem(key: string, value: string): void {
    Object.assign(this, { [key]: value })
  }
  removeItem(key: string): void {
    delete (this as unknown as Record<string, string>)[key]
  }
}

function opened(storage: Storage, doc = new Doc(), user = "ann") {
  let state: DocumentState = { status: "connecting" }
  const listeners = new Set<() => void>()
  const readable = {
    get: () => state,
    subscribe: (listener: () => void) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
  const unsaved = new Unsaved(doc, readable, ROOM, user, storage as unknown as globalThis.Storage)
  const become = (status: "connecting" | "saving" | "synced") => {
    state = { status }
    for (const listener of listeners) listener()
  }
  return { doc, text: doc.getText("t"), unsaved, become }
}

vi.stubGlobal("addEventListener", () => {})
vi.stubGlobal("removeEventListener", () => {})
vi.stubGlobal("window", globalThis)
afterEach(() => vi.useRealTimers())

it("hands edits that were not stored to the next tab, also if their predecessors come later", () => {
  const storage = new Storage()
  const first = opened(storage)
  first.text.insert(0, "stored ")
  first.become("synced")
  const server = encodeStateAsUpdate(first.doc)
  first.become("connecting")
  first.text.insert(7, "and kept")
  first.unsaved.stop()
  const second = opened(storage)
  applyUpdate(second.doc, server)
  expect(second.text.toString()).toBe("stored and kept")
  second.become("synced")
  expect(Object.keys(storage)).toEqual([])
  second.unsaved.stop()
  expect(Object.keys(storage)).toEqual([])
})

it("keeps them a moment after each edit, for tabs that die", () => {
  vi.useFakeTimers()
  const storage = new Storage()
  const first = opened(storage)
  first.text.insert(0, "kept")
  vi.runAllTimers()
  expect(opened(storage).text.toString()).toBe("kept")
})

it("hands nothing to another user, and nothing that the user has given up", () => {
  const storage = new Storage()
  const first = opened(storage)
  first.text.insert(0, "mine")
  first.unsaved.stop()
  expect(opened(storage, new Doc(), "bob").text.toString()).toBe("")
  const second = opened(storage)
  expect(second.text.toString()).toBe("mine")
  second.unsaved.discard()
  second.unsaved.stop()
  expect(Object.keys(storage)).toEqual([])
})

it("keeps the text of earlier tabs that a new document cannot show until the user gives it up", () => {
  const storage = new Storage()
  const first = opened(storage)
  const page = first.doc.getXmlFragment("default")
  const paragraph = (text: string) => {
    const element = new XmlElement("paragraph")
    element.insert(0, [new XmlText(text)])
    return element
  }
  page.insert(0, [paragraph("stored")])
  first.become("synced")
  first.become("connecting")
  page.insert(1, [paragraph("kept")])
  page.insert(2, [paragraph("and more")])
  first.unsaved.stop()
  const second = opened(storage)
  expect(second.doc.getXmlFragment("default").toString()).toBe("")
  second.become("synced")
  expect(second.unsaved.hiddenText()).toBe("kept\nand more")
  const third = opened(storage)
  applyUpdate(third.doc, encodeStateAsUpdate(first.doc))
  expect(third.unsaved.hiddenText()).toBe("")
  second.unsaved.discard()
  expect(Object.keys(storage)).toEqual([])
})
