/**
 * Editors of shared documents with the providers that applications use. Another process gives commands, one JSON object
 * a line: the checker of `tests/faults` (`node_editors.py`).
 */

import { createInterface } from "node:readline"
import { HocuspocusProvider, HocuspocusProviderWebsocket } from "@hocuspocus/provider"
import * as decoding from "lib0/decoding"
import { WebSocket } from "ws"
import { WebsocketProvider } from "y-websocket"
import * as Y from "yjs"

const STEP_1 = 0
const TEXT_MAX = 1500
const LIST_MAX = 100
const LETTERS = ["a", "b", " ", "é", "ß", "漢", "😀", "\n"]

/** One that is closed before it has opened emits an error, and the providers do not listen any more then. */
class Socket extends WebSocket {
  constructor(...options) {
    super(...options)
    this.on("error", () => {})
  }
}

const say = (event) => process.stdout.write(`${JSON.stringify(event)}\n`)

/** Random numbers in [0, 1) from a seed (mulberry32). */
function diceOf(seed) {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** One change of a random part of the document, with its id beside it in the same transaction. */
function edit(doc, id, seed) {
  const dice = diceOf(seed)
  const number = (limit) => Math.floor(dice() * limit)
  const text = doc.getText("text")
  const list = doc.getArray("list")
  const nested = doc.getMap("nested")
  /** A place between two characters: a pair of surrogates must stay together. */
  const place = () => {
    const at = number(text.length + 1)
    const unit = text.toString().charCodeAt(at)
    return unit >= 0xdc00 && unit < 0xe000 ? at - 1 : at
  }
  const range = () => {
    const ends = [place(), place()].sort((one, other) => one - other)
    return [ends[0], ends[1] - ends[0]]
  }
  doc.transact(() => {
    doc.getMap("edits").set(id, "made")
    const kind = number(8)
    const name = `k${number(5)}`
    if (kind === 0 || text.length > TEXT_MAX) text.delete(...range())
    else if (kind === 1) text.format(...range(), { bold: dice() < 0.5 ? true : null })
    else if (kind <= 3)
      text.insert(place(), Array.from({ length: 1 + number(6) }, () => LETTERS[number(8)]).join(""))
    else if (kind === 4) list.insert(number(list.length + 1), [id])
    else if (kind === 5 && list.length) list.delete(number(list.length), 1)
    else if (kind === 6) nested.set(name, new Y.Map([["by", id]]))
    else if (nested.get(name) instanceof Y.Map) nested.get(name).set("list", Y.Array.from([id, "x"]))
    else nested.delete(name)
    if (list.length > LIST_MAX) list.delete(0, LIST_MAX / 2)
  })
}

function shown(doc) {
  const text = doc.getText("text").toDelta()
  return {
    text: text.map(({ insert, attributes }) => [insert, attributes ?? null]),
    edits: doc.getMap("edits").toJSON(),
    list: doc.getArray("list").toJSON(),
    nested: doc.getMap("nested").toJSON(),
  }
}

class Editor {
  doc = new Y.Doc()
  /** Edits that the server has not acknowledged, in their order. */
  waiting = []
  end = () => {}
  /** Whether the provider shows its user that everything is saved. */
  synced = () => false
  connected = false

  constructor(number) {
    this.number = number
  }

  acknowledge(ids) {
    if (ids.length === 0) return
    this.waiting = this.waiting.filter((id) => !ids.includes(id))
    say({ editor: this.number, acknowledged: ids })
  }

  open({ provider, url, name }) {
    this.close()
    if (provider === "hocuspocus") this.openWithHocuspocus(url, name)
    else this.openWithYWebsocket(url, name)
  }

  close() {
    this.end()
    this.end = () => {}
    this.synced = () => false
    this.connected = false
  }

  openWithHocuspocus(url, name) {
    const socket = new HocuspocusProviderWebsocket({
      url,
      WebSocketPolyfill: Socket,
      delay: 50,
      minDelay: 50,
      maxDelay: 300,
    })
    const provider = new HocuspocusProvider({
      websocketProvider: socket,
      name,
      document: this.doc,
      token: "",
    })
    const look = () => {
      if (provider.isSynced && !provider.hasUnsyncedChanges) this.acknowledge([...this.waiting])
    }
    provider.on("unsyncedChanges", look)
    provider.on("synced", look)
    provider.on("status", ({ status }) => {
      this.connected = status === "connected"
    })
    provider.on("close", ({ event }) => say({ editor: this.number, closed: event.code }))
    provider.on("authenticationFailed", ({ reason }) => say({ editor: this.number, refused: reason }))
    provider.on("stateless", ({ payload }) => say({ editor: this.number, refused: payload }))
    provider.attach()
    this.synced = () => provider.isSynced && !provider.hasUnsyncedChanges
    this.end = () => {
      provider.destroy()
      socket.destroy()
    }
  }

  /** This provider has no sign for edits that are stored but their coming back, and that it is synced. */
  openWithYWebsocket(url, name) {
    const provider = new WebsocketProvider(url, name, this.doc, {
      WebSocketPolyfill: Socket,
      disableBc: true,
      maxBackoffTime: 300,
    })
    let answer = null
    let stored = new Y.Doc()
    const forget = () => {
      answer = null
      stored = new Y.Doc()
    }
    const [sync] = provider.messageHandlers
    provider.messageHandlers[0] = (encoder, decoder, ...rest) => {
      const copy = decoding.clone(decoder)
      const step = decoding.readVarUint(copy)
      const data = decoding.readVarUint8Array(copy)
      const before = provider.synced
      sync(encoder, decoder, ...rest)
      if (step === STEP_1) {
        answer ??= { ids: [...this.waiting], state: Y.encodeStateAsUpdate(this.doc) }
        return
      }
      Y.applyUpdate(stored, data)
      if (!before && provider.synced && answer !== null) {
        Y.applyUpdate(stored, answer.state)
        this.acknowledge(answer.ids.filter((id) => this.waiting.includes(id)))
      }
      const edits = stored.getMap("edits")
      this.acknowledge(this.waiting.filter((id) => edits.has(id)))
    }
    provider.messageHandlers[2] = (_encoder, decoder) => {
      decoding.readVarUint(decoder)
      say({ editor: this.number, refused: decoding.readVarString(decoder) })
    }
    provider.on("status", ({ status }) => {
      this.connected = status === "connected"
      if (status !== "connected") forget()
    })
    provider.on("connection-close", (event) => {
      forget()
      if (event !== null) say({ editor: this.number, closed: event.code })
    })
    this.synced = () => provider.synced
    this.end = () => provider.destroy()
  }
}

const editors = new Map()

function obey(command) {
  let editor = editors.get(command.editor)
  if (editor === undefined) {
    editor = new Editor(command.editor)
    editors.set(command.editor, editor)
  }
  switch (command.do) {
    case "open":
      editor.open(command)
      break
    case "close":
      editor.close()
      break
    case "forget":
      editor.close()
      editor.doc = new Y.Doc()
      break
    case "edit":
      editor.waiting.push(command.id)
      edit(editor.doc, command.id, command.seed)
      break
    case "tell":
      say({
        editor: command.editor,
        question: command.question,
        state: Buffer.from(Y.encodeStateAsUpdate(editor.doc)).toString("base64"),
        shown: shown(editor.doc),
        synced: editor.synced(),
        connected: editor.connected,
      })
  }
}

createInterface({ input: process.stdin })
  .on("line", (line) => obey(JSON.parse(line)))
  .on("close", () => process.exit(0))
