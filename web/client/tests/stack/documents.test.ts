/** Shared documents with the providers that applications use. */

import { randomUUID } from "node:crypto"
import { HocuspocusProvider, HocuspocusProviderWebsocket } from "@hocuspocus/provider"
import { describe, expect } from "vitest"
import { WebSocket } from "ws"
import * as Y from "yjs"
import { openDocument, type SharedDocument } from "../../src/documents/index.js"
import {
  allHave,
  allSynced,
  documentsAt,
  type Editor,
  eventually,
  type Open,
  PROVIDERS,
  test,
} from "../support/documents.js"
import { API_KEY, freeze, type Gateway } from "../support/stack.js"
import { token } from "../support/token.js"

/** The default of STUDYROOM_GATEWAY_DOCUMENT_DEADLINE_SECONDS. */
const DEADLINE_SECONDS = 5
/** The default of STUDYROOM_GATEWAY_DOCUMENT_MESSAGE_MAX_BYTES. */
const MESSAGE_MAX_BYTES = 786_432
const [[, yWebsocket], [, hocuspocus]] = PROVIDERS as [[string, Open], [string, Open]]

function urls(gateways: Gateway[]): [string, string] {
  const [here, there] = gateways.map(({ url }) => url.href)
  if (here === undefined || there === undefined) throw new Error("not two gateways")
  return [here, there]
}

test("two editors on two gateways with different providers write one document, and a third gets it later", async ({
  gateways,
  open,
  roomId,
}) => {
  const [here, there] = urls(gateways())
  const ann = open(yWebsocket, here, roomId, "notes")
  const bob = open(hocuspocus, there, roomId, "notes")
  await allSynced(ann, bob)
  for (let number = 0; number < 20; number += 1) {
    ann.text.insert(0, `a${number} `)
    bob.text.insert(0, `b${number} `)
  }
  bob.text.delete(0, 1)
  await allHave([ann, bob], "a19", "a0", "b0")
  await allSynced(ann, bob)
  for (const how of [yWebsocket, hocuspocus]) {
    const late = open(how, here, roomId, "notes")
    await allSynced(late)
    expect(late.text.toString()).toBe(ann.text.toString())
  }
  const other = open(yWebsocket, here, roomId, "other")
  await allSynced(other)
  expect(other.text.toString()).toBe("")
})

function tokenWith(subject: string, claims: object): string {
  return token(subject, subject, 60, claims)
}

describe.each(PROVIDERS)("%s", (_provider, how) => {
  test("edits that were made offline arrive, and synced means stored: the gateway may die at that moment", async ({
    gateways,
    open,
    roomId,
  }) => {
    const [here, there] = urls(gateways())
    const before = gateways()
    const reader = open(yWebsocket, there, roomId, "notes")
    const doc = new Y.Doc()
    doc.getText("text").insert(0, "written offline")
    const ann = open(how, here, roomId, "notes", { doc })
    await allSynced(ann)
    process.kill(before[0]?.pid ?? 0, "SIGKILL")
    await allHave([reader], "written offline")
    ann.disconnect()
    ann.text.insert(0, "and again, ")
    await eventually(() => expect(gateways()[0]?.pid).not.toBe(before[0]?.pid))
    ann.connect()
    await allHave([reader, ann], "and again, written offline")
    await allSynced(ann)
  })

  test("both keep writing while their gateway is killed, and nothing is lost", async ({
    balancer,
    gateways,
    open,
    roomId,
  }) => {
    const before = gateways()
    balancer.prefer(before[1]?.name ?? "")
    const ann = open(how, balancer.url, roomId, "notes")
    const bob = open(how, balancer.url, roomId, "notes")
    await allSynced(ann, bob)
    for (let number = 0; number < 100; number += 1) {
      ann.text.insert(ann.text.length, `[a${number}]`)
      bob.text.insert(bob.text.length, `[b${number}]`)
      if (number === 50) process.kill(before[1]?.pid ?? 0, "SIGKILL")
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
    const parts = Array.from({ length: 100 }, (_, number) => [`[a${number}]`, `[b${number}]`]).flat()
    await allHave([ann, bob], ...parts)
    await allSynced(ann, bob)
    await eventually(() => expect(gateways()[1]?.pid).not.toBe(before[1]?.pid))
  })

  test("while nothing can be stored, the editor is not synced, and then everything arrives", async ({
    gateways,
    nats,
    open,
    roomId,
  }) => {
    const [here, there] = urls(gateways())
    const ann = open(how, here, roomId, "notes")
    const bob = open(yWebsocket, there, roomId, "notes")
    await allSynced(ann, bob)
    const doc = new Y.Doc()
    doc.getText("text").insert(0, "written offline ")
    await freeze(nats())
    let late: Editor
    try {
      ann.text.insert(0, "kept ")
      late = open(how, here, roomId, "notes", { doc })
      // Until the gateway has given up the first attempt to store it.
      await new Promise((resolve) => setTimeout(resolve, DEADLINE_SECONDS * 1000 + 1000))
      expect(late.synced()).toBe(false)
      expect(bob.text.toString()).toBe("")
    } finally {
      process.kill(nats(), "SIGCONT")
    }
    await allHave([ann, bob, late], "kept ", "written offline ")
    await allSynced(ann, late)
  })

  test("a token for reading reads, and its edits are refused", async ({ gateways, open, roomId }) => {
    const [here, there] = urls(gateways())
    const writer = open(how, here, roomId, "notes", { token: tokenWith("ann", { documents: "write" }) })
    const reading = { documents: { [roomId]: "read" } }
    const reader = open(how, there, roomId, "notes", { token: tokenWith("bob", reading) })
    writer.text.insert(0, "hello")
    await allHave([writer, reader], "hello")
    reader.text.insert(0, "never ")
    writer.text.insert(5, " world")
    await eventually(() => expect(reader.text.toString()).toBe("never hello world"))
    const late = open(how, there, roomId, "notes")
    await allSynced(late, writer)
    expect([writer.text.toString(), late.text.toString()]).toEqual(["hello world", "hello world"])
  })

  test("others see who is there, at once, and when they go", async ({ gateways, open, roomId }) => {
    const [here, there] = urls(gateways())
    const ann = open(how, here, roomId, "notes")
    const bob = open(yWebsocket, there, roomId, "notes")
    await allSynced(ann, bob)
    ann.awareness.setLocalStateField("user", { name: "Ann" })
    bob.awareness.setLocalStateField("user", { name: "Bob" })
    const names = (editor: typeof ann) =>
      [...editor.awareness.getStates().values()].map((state) => (state.user as { name?: string })?.name)
    for (const editor of [ann, bob]) {
      await eventually(() => expect(names(editor).sort()).toEqual(["Ann", "Bob"]))
    }
    const late = open(hocuspocus, there, roomId, "notes")
    await eventually(() => expect(names(late).sort()).toEqual(expect.arrayContaining(["Ann", "Bob"])))
    ann.destroy()
    await eventually(() => expect(names(bob)).not.toContain("Ann"))
    expect(names(bob)).toContain("Bob")
  })
})

test("several documents share one socket of Hocuspocus, and one is closed without the others", async ({
  gateways,
  open,
  roomId,
}) => {
  const [here, there] = urls(gateways())
  const websocketProvider = new HocuspocusProviderWebsocket({
    url: documentsAt(here, roomId),
    WebSocketPolyfill: WebSocket as unknown as typeof globalThis.WebSocket,
  })
  const providers = ["one", "two"].map(
    (name) => new HocuspocusProvider({ websocketProvider, name, token: "" }),
  )
  for (const provider of providers) provider.attach()
  try {
    const [one, two] = providers as [HocuspocusProvider, HocuspocusProvider]
    const others = ["one", "two"].map((name) => open(yWebsocket, there, roomId, name))
    const [first, second] = others as [(typeof others)[0], (typeof others)[0]]
    one.document.getText("text").insert(0, "first")
    two.document.getText("text").insert(0, "second")
    await allHave([first], "first")
    await allHave([second], "second")
    one.destroy()
    second.text.insert(0, "still ")
    await eventually(() => expect(two.document.getText("text").toString()).toBe("still second"))
    expect(first.text.toString()).toBe("first")
  } finally {
    for (const provider of providers) provider.destroy()
    websocketProvider.destroy()
  }
})

test("a token without the room or without its documents opens none", async ({ gateways, roomId }) => {
  const [here] = urls(gateways())
  for (const claims of [{ rooms: [] }, { documents: "none" }, { documents: {} }]) {
    const access = tokenWith("ann", claims)
    const socket = new WebSocket(`${documentsAt(here, roomId)}/notes?access_token=${access}`)
    const status = await new Promise((resolve) => {
      socket.once("unexpected-response", (_request, response) => resolve(response.statusCode))
      socket.once("open", () => resolve("open"))
    })
    expect(status).toBe(403)
    const websocketProvider = new HocuspocusProviderWebsocket({
      url: documentsAt(here, roomId),
      WebSocketPolyfill: WebSocket as unknown as typeof globalThis.WebSocket,
    })
    const refused: string[] = []
    const onAuthenticationFailed = ({ reason }: { reason: string }) => refused.push(reason)
    const provider = new HocuspocusProvider({
      websocketProvider,
      name: "notes",
      token: access,
      onAuthenticationFailed,
    })
    provider.attach()
    await eventually(() => expect(refused[0]).toMatch(/does not allow/))
    provider.destroy()
    websocketProvider.destroy()
  }
})

test("a malformed message is refused with a reason, and disturbs nobody", async ({
  gateways,
  open,
  roomId,
}) => {
  const [here] = urls(gateways())
  const ann = open(yWebsocket, here, roomId, "notes")
  await allSynced(ann)
  const socket = new WebSocket(`${documentsAt(here, roomId)}/notes`)
  const denials: string[] = []
  socket.on("message", (data: Buffer) => {
    if (data[0] === 2 && data[1] === 0) denials.push(data.subarray(3).toString())
  })
  await new Promise((resolve) => socket.once("open", resolve))
  const malformed = [[], [9], [0, 0, 200], [0, 2, 3, 1, 1, 7], [1, 3, 1, 7, 1], [0, 1, 2, 255, 255]]
  for (const [index, bytes] of malformed.entries()) {
    socket.send(Uint8Array.from(bytes))
    await eventually(() => expect(denials.length).toBeGreaterThan(index))
  }
  ann.text.insert(0, "fine")
  const bob = open(yWebsocket, here, roomId, "notes")
  await allHave([ann, bob], "fine")
  expect(socket.readyState).toBe(WebSocket.OPEN)
  socket.close()
})

test("a user who is banned from the room is closed, and opens no document of it any more", async ({
  gateways,
  open,
  roomId,
}) => {
  const [here, there] = urls(gateways())
  const user = randomUUID()
  const address = `${documentsAt(there, roomId)}/notes?access_token=${token(user, "Ann")}`
  const socket = new WebSocket(address)
  await new Promise((resolve) => socket.once("open", resolve))
  const closed = new Promise((resolve) => socket.once("close", resolve))
  const answer = await fetch(new URL(`/api/v1/rooms/${roomId}/bans/${user}`, gateways()[0]?.url), {
    method: "PUT",
    headers: { authorization: `Bearer ${API_KEY}`, "content-type": "application/json" },
    body: JSON.stringify({ seconds: 60 }),
  })
  expect(answer.ok).toBe(true)
  expect(await closed).toBe(4502)
  const again = new WebSocket(address)
  const status = await new Promise((resolve) => {
    again.once("unexpected-response", (_request, response) => resolve(response.statusCode))
    again.once("open", () => resolve("open"))
  })
  expect(status).toBe(403)
  await allSynced(open(yWebsocket, here, roomId, "notes"))
})

test("one call opens a document for the user of the client, and tells when everything is stored", async ({
  gateways,
  roomId,
}) => {
  const [here, there] = urls(gateways())
  const [ann, bob] = [here, there].map((url) =>
    openDocument({ url, token: () => tokenWith("ann", {}), WebSocket }, roomId, "notes"),
  ) as [SharedDocument, SharedDocument]
  expect(ann.state.get()).toEqual({ status: "connecting" })
  ann.doc.getText("text").insert(0, "stored")
  await eventually(() => expect(ann.state.get()).toEqual({ status: "synced" }))
  await eventually(() => expect(bob.doc.getText("text").toString()).toBe("stored"))
  ann.doc.getText("text").insert(0, "and ")
  expect(ann.state.get()).toEqual({ status: "saving" })
  await eventually(() => expect(bob.doc.getText("text").toString()).toBe("and stored"))
  ann.close()
  bob.close()
})

test("a document that the user may not open or write says why", async ({ gateways, roomId }) => {
  const [url] = urls(gateways())
  const open = (documents: string) =>
    openDocument({ url, token: tokenWith("ann", { documents }), WebSocket }, roomId, "notes")
  const [none, reader] = [open("none"), open("read")]
  await eventually(() => expect(none.state.get().status).toBe("refused"))
  await eventually(() => expect(reader.state.get()).toEqual({ status: "synced" }))
  expect(reader.mayWrite.get()).toBe(false)
  reader.doc.getText("text").insert(0, "mine alone")
  await eventually(() => expect(reader.refusal.get()).toMatchObject({ code: "read_only" }))
  expect(reader.refusal.get()?.message).toContain("only read")
  none.close()
  reader.close()
})

test.for([false, true])(
  "the token of a guest is in the address only if tokens belong there: %s",
  async (tokenInAddress, { gateways, roomId }) => {
    const [url] = urls(gateways())
    const handshakes: [address: string, protocols: string[]][] = []
    class Watched extends WebSocket {
      constructor(address: string, protocols: string[] = []) {
        super(address, protocols)
        handshakes.push([address, protocols])
      }
    }
    const identity = { get: () => "token-of-a-guest", set: () => {} }
    const document = openDocument({ url, identity, tokenInAddress, WebSocket: Watched }, roomId, "notes")
    await eventually(() => expect(document.state.get()).toEqual({ status: "synced" }))
    const [[address, protocols] = ["", []]] = handshakes
    expect(address.includes("token-of-a-guest")).toBe(tokenInAddress)
    expect(protocols).toEqual(tokenInAddress ? [] : ["studyroom", "guest_token.token-of-a-guest"])
    document.close()
  },
)

test("an edit that is too large is refused with its reason, and once it is taken back everything is stored", async ({
  gateways,
  roomId,
}) => {
  const [here, there] = urls(gateways())
  const [ann, bob] = [here, there].map((url) =>
    openDocument({ url, username: "Ann", WebSocket }, roomId, "notes"),
  ) as [SharedDocument, SharedDocument]
  await eventually(() => expect(ann.state.get()).toEqual({ status: "synced" }))
  expect(ann.mayWrite.get()).toBe(true)
  const text = ann.doc.getText("text")
  text.insert(0, "x".repeat(MESSAGE_MAX_BYTES))
  await eventually(() => expect(ann.refusal.get()).toMatchObject({ code: "too_large" }))
  expect(ann.state.get()).toEqual({ status: "connecting" })
  text.delete(0, text.length)
  text.insert(0, "short")
  await eventually(() => expect(ann.state.get()).toEqual({ status: "synced" }))
  expect(ann.refusal.get()).toBe(null)
  await eventually(() => expect(bob.doc.getText("text").toString()).toBe("short"))
  ann.close()
  bob.close()
})
