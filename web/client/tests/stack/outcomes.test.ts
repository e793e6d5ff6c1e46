/** The promises that calls return, and the answers of the server that settle them. */

import { expect } from "vitest"
import { contents, sent, test, until } from "../support/fixture.js"
import { API_KEY } from "../support/stack.js"

test("a sent message is a message at once, and a promise of the stored one", async ({ member, roomId }) => {
  const ann = await member("Ann", roomId)
  const sending = ann.sendChat("Hello")
  expect(sending).toMatchObject({ content: "Hello", state: "sending", seq: null })
  const stored = await sending
  expect(stored).toMatchObject({ id: sending.id, content: "Hello", state: "sent" })
  expect(stored).toEqual(ann.messages.get()[0])
})

test("a promise of a message outlives the connection", async ({ balancer, member, roomId }) => {
  const ann = await member("Ann", roomId)
  balancer.cut()
  await until(ann.connection, ({ status }) => status === "waiting")
  const sending = ann.sendChat("written offline")
  balancer.heal()
  expect(await sending).toMatchObject({ state: "sent" })
})

test("joining resolves inside the room, and every call for the same room with it", async ({
  newClient,
  roomId,
}) => {
  const ann = newClient({ username: "Ann" })
  const joins = [ann.join(roomId), ann.join(roomId.toUpperCase())]
  ann.connect()
  for (const state of await Promise.all(joins)) expect(state).toMatchObject({ status: "joined", roomId })
  expect(await ann.join(roomId)).toBe(ann.room.get())
  expect(ann.self.get()).toMatchObject({ username: "Ann" })
})

test("joining rejects with the reason of the server, or because the user went on", async ({
  newClient,
  roomId,
}) => {
  const ann = newClient()
  ann.connect()
  await expect(ann.join("lobby")).rejects.toMatchObject({ name: "StudyroomError", code: "invalid_message" })
  const first = ann.join(roomId)
  const second = ann.join(crypto.randomUUID())
  await expect(first).rejects.toMatchObject({ code: "left" })
  await expect(second).resolves.toMatchObject({ status: "joined" })
})

test("another spelling of the room changes nothing", async ({ member, roomId }) => {
  const [ann, bob] = [await member("Ann", roomId), await member("Bob", roomId)]
  await Promise.all([ann.sendChat("one"), sent(bob, 1)])
  const left: string[] = []
  bob.on("userLeft", ({ member }) => left.push(member.username))
  const before = ann.messages.get()
  await ann.join(`urn:uuid:${roomId.toUpperCase()}`)
  expect(ann.messages.get()).toBe(before)
  await ann.sendChat("two")
  await sent(bob, 2)
  expect(left).toEqual([])
})

test("earlier messages are loaded a page at a time until there are no more, without what was deleted", async ({
  gateways,
  member,
  roomId,
}) => {
  const ann = await member("Ann", roomId)
  const written = Array.from({ length: 130 }, (_, number) => `message ${number}`)
  for (const content of written) ann.sendChat(content)
  await sent(ann, written.length)
  expect(ann.hasMore.get()).toBe(false)

  const bob = await member("Bob", roomId)
  await sent(bob, 50)
  expect(contents(bob)).toEqual(written.slice(-50))
  expect(bob.hasMore.get()).toBe(true)
  const page = await bob.loadEarlier(40)
  expect(page.map(({ content }) => content)).toEqual(written.slice(40, 80))
  expect(page.every(({ own, state }) => !own && state === "sent")).toBe(true)

  const seq = ann.messages.get().find(({ content }) => content === "message 60")?.seq
  const address = new URL(`/api/v1/rooms/${roomId}/messages/${seq}`, gateways()[0]?.url)
  await fetch(address, { method: "DELETE", headers: { authorization: `Bearer ${API_KEY}` } })
  await until(bob.messages, ({ length }) => length === 89)

  const [one, same] = [bob.loadEarlier(), bob.loadEarlier()]
  expect(await one).toBe(await same)
  expect(bob.hasMore.get()).toBe(false)
  expect(contents(bob)).toEqual(written.filter((content) => content !== "message 60"))
  expect(await bob.loadEarlier()).toEqual([])
})

test("messages beyond those in memory can be loaded again", async ({ member, roomId }) => {
  const ann = await member("Ann", roomId, { historyLimit: 10 })
  const written = Array.from({ length: 25 }, (_, number) => `message ${number}`)
  for (const content of written) ann.sendChat(content)
  await until(ann.messages, (messages) => messages.at(-1)?.content === "message 24" && messages.length === 10)
  expect(ann.hasMore.get()).toBe(true)
  await ann.loadEarlier()
  expect(contents(ann)).toEqual(written)
  expect(ann.hasMore.get()).toBe(false)
})

test("a roster is known also without being in the room", async ({ member, newClient, roomId }) => {
  const ann = await member("Ann", roomId)
  const outside = newClient()
  expect(await outside.getRoster(roomId)).toEqual([ann.self.get()])
  expect(await ann.getRoster()).toEqual([ann.self.get()])
  await expect(outside.getRoster()).rejects.toMatchObject({ code: "not_in_room" })
  await expect(outside.getRoster("lobby")).rejects.toMatchObject({ code: "invalid_request" })
})
