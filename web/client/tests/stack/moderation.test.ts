/** The effects of moderation on messages and users, as clients see them. */

import { expect } from "vitest"
import type { StudyroomClient } from "../../src/index.js"
import { test as base, contents, sent, until } from "../support/fixture.js"
import { API_KEY } from "../support/stack.js"

interface Moderating {
  /** Sends a request to the HTTP API. Resolves when the gateway has carried it out. */
  ask: (method: string, path: string, body?: object) => Promise<void>
}

const test = base.extend<Moderating>({
  ask: async ({ gateways }, use) => {
    await use(async (method, path, body) => {
      const address = new URL(`/api/v1${path}`, gateways()[0]?.url)
      const headers = { authorization: `Bearer ${API_KEY}`, "content-type": "application/json" }
      const answer = await fetch(address, { method, headers, body: body ? JSON.stringify(body) : null })
      expect(answer.ok).toBe(true)
    })
  },
})

const me = (client: StudyroomClient) => client.self.get()?.userId
const seqOf = (client: StudyroomClient, content: string) =>
  client.messages.get().find((message) => message.content === content)?.seq

test("a deleted message goes from every client that shows it, and from clients that were away", async ({
  ask,
  balancer,
  member,
  roomId,
}) => {
  const [ann, bob] = [await member("Ann", roomId), await member("Bob", roomId)]
  for (const content of ["good", "bad", "worse"]) ann.sendChat(content)
  await Promise.all([sent(ann, 3), sent(bob, 3)])
  await ask("DELETE", `/rooms/${roomId}/messages/${seqOf(ann, "bad")}`)
  for (const client of [ann, bob]) await until(client.messages, ({ length }) => length === 2)

  balancer.cut()
  await until(bob.connection, ({ status }) => status === "waiting")
  await ask("DELETE", `/rooms/${roomId}/messages/${seqOf(bob, "worse")}`)
  balancer.heal()
  for (const client of [ann, bob]) await until(client.messages, ({ length }) => length === 1)
  ann.sendChat("after")
  await Promise.all([sent(ann, 2), sent(bob, 2)])
  for (const client of [ann, bob]) expect(contents(client)).toEqual(["good", "after"])
})

test("a removed user is out until they join again", async ({ ask, member, roomId }) => {
  const [ann, bob] = [await member("Ann", roomId), await member("Bob", roomId)]
  await until(ann.others, ({ length }) => length === 1)
  await ask("DELETE", `/rooms/${roomId}/members/${me(bob)}`)
  const room = await until(bob.room, ({ status }) => status === "refused")
  expect(room).toMatchObject({ roomId, code: "removed" })
  await until(ann.others, ({ length }) => length === 0)
  expect(bob.connection.get().status).toBe("open")
  bob.join(roomId)
  await until(bob.room, ({ status }) => status === "joined")
  await until(ann.others, ({ length }) => length === 1)
})

test("what a removed user writes fails with the reason, until they join again", async ({
  ask,
  balancer,
  member,
  roomId,
}) => {
  const [ann, bob] = [await member("Ann", roomId), await member("Bob", roomId)]
  balancer.stall()
  const before = bob.sendChat("under way")
  balancer.cut()
  balancer.heal()
  await ask("PUT", `/rooms/${roomId}/bans/${me(bob)}`, { seconds: 60 })
  await until(bob.room, ({ status }) => status === "refused")
  await expect(before).rejects.toMatchObject({ code: "banned_from_room" })
  const after = bob.sendChat("Hello?")
  await expect(after).rejects.toMatchObject({ name: "StudyroomError", code: "banned_from_room" })
  expect(bob.messages.get().map(({ state }) => state)).toEqual(["failed", "failed"])

  await ask("DELETE", `/rooms/${roomId}/bans/${me(bob)}`)
  await bob.join(roomId)
  expect(await bob.retryChat(after.id)).toMatchObject({ content: "Hello?", state: "sent" })
  await sent(ann, 1)
  expect(contents(ann)).toEqual(["Hello?"])
})

test("a user banned from a room is not let in again", async ({ ask, member, roomId }) => {
  const bob = await member("Bob", roomId)
  await ask("PUT", `/rooms/${roomId}/bans/${me(bob)}`, { seconds: 60 })
  await until(bob.room, ({ status }) => status === "refused")
  bob.join(roomId)
  const room = await until(bob.room, (room) => room.status === "refused" && room.code !== "removed")
  expect(room).toMatchObject({ code: "banned_from_room" })
})

test("a disconnected user stays away until a request to connect", async ({ ask, member, roomId }) => {
  const bob = await member("Bob", roomId)
  await ask("POST", `/users/${me(bob)}/disconnect`)
  expect(await until(bob.connection, ({ status }) => status === "closed")).toMatchObject({ code: 4501 })
  bob.connect()
  await until(bob.room, ({ status }) => status === "joined")
})

test("a banned user is closed for good", async ({ ask, member, roomId }) => {
  const bob = await member("Bob", roomId)
  await ask("PUT", `/bans/${me(bob)}`, { seconds: 60 })
  expect(await until(bob.connection, ({ status }) => status === "closed")).toMatchObject({ code: 4502 })
})
