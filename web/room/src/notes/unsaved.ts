/**
 * Keeps the edits that the server has not stored yet in the browser, so that they survive the end of the tab. When the
 * server has stored everything, nothing of the notes is left in the browser.
 */

import { newId, type Readable } from "@studyroom/client"
import type { DocumentState } from "@studyroom/client/documents"
import {
  applyUpdate,
  type Doc,
  decodeStateVector,
  encodeStateAsUpdate,
  encodeStateVector,
  parseUpdateMeta,
  type Transaction,
} from "yjs"
import { textOfEdits } from "./text-of-edits"

const AFTER_EDIT_MS = 300
/** Browsers keep about five million characters for a page. */
const MOST_CHARACTERS = 2_000_000
const thisTab = newId()

export class Unsaved {
  private readonly prefix: string
  private readonly own: string
  /** The keys of what other tabs left here, which is part of this document now. */
  private readonly taken: string[]
  /** The state of the document when everything was stored. */
  private stored: Uint8Array | undefined
  private timer = 0
  private hasEdits = false
  private isGivenUp = false
  private readonly ends: (() => void)[]

  /** Takes up what earlier tabs of this user could not save. */
  constructor(
    private readonly doc: Doc,
    private readonly state: Readable<DocumentState>,
    roomId: string,
    userId: string,
    private readonly storage: Storage = localStorage,
  ) {
    this.prefix = `studyroom.notes ${roomId} ${userId} `
    this.own = this.prefix + thisTab
    this.taken = Object.keys(storage).filter((key) => key.startsWith(this.prefix))
    for (const key of this.taken) applyUpdate(doc, decoded(storage.getItem(key) ?? ""))
    const edited = (_update: Uint8Array, _origin: unknown, _doc: Doc, { local }: Transaction) => {
      this.hasEdits ||= local
      clearTimeout(this.timer)
      this.timer = window.setTimeout(this.keep, AFTER_EDIT_MS)
    }
    doc.on("update", edited)
    addEventListener("pagehide", this.keep)
    this.ends = [
      () => doc.off("update", edited),
      () => removeEventListener("pagehide", this.keep),
      state.subscribe(() => this.changed()),
    ]
  }

  /**
   * The text of earlier tabs that the document cannot show, because it lacks what that follows. Once everything is synced,
   * that is gone: the notes were deleted.
   */
  hiddenText(): string {
    return this.hidden().map(textOfEdits).join("\n\n")
  }

  private hidden(): Uint8Array[] {
    if (this.taken.length === 0) return []
    const has = decodeStateVector(encodeStateVector(this.doc))
    const lacks = ([client, clock]: [number, number]) => (has.get(client) ?? 0) < clock
    const kept = this.taken.map((key) => decoded(this.storage.getItem(key) ?? ""))
    return kept.filter((update) => update.length > 0 && [...parseUpdateMeta(update).to].some(lacks))
  }

  /** The user has given up the edits. */
  discard(): void {
    this.isGivenUp = true
    this.forget()
  }

  stop(): void {
    this.keep()
    for (const end of this.ends) end()
    clearTimeout(this.timer)
  }

  private changed(): void {
    if (this.state.get().status !== "synced") return
    this.stored = encodeStateVector(this.doc)
    this.hasEdits = false
    if (this.hidden().length === 0) this.forget()
  }

  private forget(): void {
    for (const key of [...this.taken.splice(0), this.own]) this.storage.removeItem(key)
  }

  private readonly keep = (): void => {
    if (!this.hasEdits || this.isGivenUp || this.state.get().status === "synced") return
    const update = encoded(encodeStateAsUpdate(this.doc, this.stored))
    if (update.length > MOST_CHARACTERS) return
    try {
      this.storage.setItem(this.own, update)
    } catch (error) {
      console.info("unsaved notes cannot be kept:", error)
    }
  }
}

function encoded(bytes: Uint8Array): string {
  let text = ""
  for (const byte of bytes) text += String.fromCharCode(byte)
  return btoa(text)
}

function decoded(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0))
}
