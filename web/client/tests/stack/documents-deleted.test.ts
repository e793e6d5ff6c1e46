/** Shared documents that are deleted while people have them open. */

import { expect } from "vitest"
import { WebSocket } from "ws"
import type { Doc } from "yjs"
import { openDocument, type SharedDocument } from "../../src/documents/index.js"
import { eventually, test } from "../support/documents.js"
import { API_KEY } from "../support/stack.js"
import { token } from "../support/token.js"

test("a deleted document says so with whether something was not saved, and a new one has its name", async ({
  gateways,
  roomId,
}) => {
  const [here, there] = gateways()
  if (here === undefined || there === undefined) throw new Error("not two gateways")
  const open = (url: URL, name: string, doc?: Doc) =>
    openDocument({ url, token: token(name, name), WebSocket, ...(doc ? { doc } : {}) }, roomId, "notes")
  const textOf = (document: SharedDocument) => document.doc.getText("text")
  const becomes = (document: SharedDocument, state: object) =>
    eventually(() => expect(document.state.get()).toEqual(state))
  const [ann, bob] = [open(here.url, "ann"), open(there.url, "bob")]
  textOf(ann).insert(0, "stored")
  await becomes(ann, { status: "synced" })
  await eventually(() => expect(textOf(bob).toString()).toBe("stored"))

  const answer = await fetch(new URL(`/api/v1/rooms/${roomId}/documents/notes`, there.url), {
    method: "DELETE",
    headers: { authorization: `Bearer ${API_KEY}` },
  })
  expect(answer.status).toBe(204)
  for (const document of [ann, bob]) {
    await becomes(document, { status: "deleted", unsaved: false })
    expect(document.mayWrite.get()).toBe(false)
    expect(textOf(document).toString()).toBe("stored")
  }

  textOf(ann).insert(0, "late and ")
  const fresh = open(there.url, "bob")
  await becomes(fresh, { status: "synced" })
  expect(textOf(fresh).toString()).toBe("")
  textOf(fresh).insert(0, "fresh")
  await becomes(fresh, { status: "synced" })

  const offline = open(here.url, "ann", ann.doc)
  await becomes(offline, { status: "deleted", unsaved: true })
  expect(textOf(offline).toString()).toContain("late and stored")
  expect(ann.state.get()).toEqual({ status: "deleted", unsaved: false })
  const late = open(here.url, "cem")
  await becomes(late, { status: "synced" })
  expect([textOf(fresh), textOf(late)].map(String)).toEqual(["fresh", "fresh"])
  for (const document of [ann, bob, fresh, offline, late]) document.close()
})
