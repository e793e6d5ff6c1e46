/** Several rooms over one connection. */

import { randomUUID } from "node:crypto"
import { expect } from "vitest"
import { WebSocket } from "ws"
import { withFallback } from "../../src/fallback/index.js"
import type { ClientOptions, StudyroomClient, WebSocketConstructor } from "../../src/index.js"
import { shareConnection } from "../../src/rooms/index.js"
import { contents, sent, test, until } from "../support/fixture.js"
import { token } from "../support/token.js"

/** A class that counts its sockets, and what it shares. */
function counted(change = (href: string) => href) {
  const opened: WebSocket[] = []
  class Counting extends WebSocket {
    constructor(href: string, protocols?: string[]) {
      super(change(href), protocols)
      opened.push(this)
    }
  }
  return { opened, shared: shareConnection({ WebSocket: Counting as never }) }
}

const isAlone = (client: StudyroomClient) => until(client.others, ({ length }) => length === 0)
const isMet = (client: StudyroomClient) => until(client.others, ({ length }) => length === 1)

/** Both write to each other in their room. */
async function talk(ann: StudyroomClient, bob: StudyroomClient, count = 10): Promise<void> {
  const before = ann.messages.get().length
  for (let number = 0; number < count; number += 1) {
    ann.sendChat(`ann ${number}`)
    bob.sendChat(`bob ${number}`)
  }
  await sent(ann, before + 2 * count)
  await sent(bob, before + 2 * count)
  expect(contents(ann)).toEqual(contents(bob))
}

type Member = (username: string, roomId: string, options?: Partial<ClientOptions>) => Promise<StudyroomClient>

/** Ann is at a table with Bob and in a lobby with Eve, with two clients of the same class. */
async function atTwoPlaces(member: Member, roomId: string, shared: WebSocketConstructor) {
  const other = randomUUID()
  const [bob, eve] = [await member("Bob", roomId), await member("Eve", other)]
  const [table, lobby] = await Promise.all([
    member("Ann", roomId, { WebSocket: shared }),
    member("Ann", other, { WebSocket: shared }),
  ])
  await Promise.all([talk(table, bob), talk(lobby, eve)])
  return { bob, eve, table, lobby }
}

test("clients of one user share one WebSocket, and each has its own room", async ({ member, roomId }) => {
  const { opened, shared } = counted()
  const { bob, eve, table, lobby } = await atTwoPlaces(member, roomId, shared)
  expect(opened.length).toBe(1)
  expect(table.self.get()?.userId).toBe(lobby.self.get()?.userId)
  table.close()
  await isAlone(bob)
  await talk(lobby, eve)
  expect(opened[0]?.readyState).toBe(WebSocket.OPEN)
  lobby.close()
  await isAlone(eve)
  await expect.poll(() => opened[0]?.readyState).toBe(WebSocket.CLOSED)
})

test("after a lost connection all rooms resume over one new one", async ({ balancer, member, roomId }) => {
  const { opened, shared } = counted()
  const other = randomUUID()
  const [bob, eve] = [await member("Bob", roomId), await member("Eve", other)]
  const table = await member("Ann", roomId, { WebSocket: shared })
  const lobby = await member("Ann", other, { WebSocket: shared })
  await talk(table, bob)
  await talk(lobby, eve)
  balancer.cut()
  for (const client of [table, lobby, bob, eve])
    await until(client.connection, ({ status }) => status !== "open")
  const attempts = opened.length
  table.sendChat("written offline")
  lobby.sendChat("written offline")
  balancer.heal()
  for (const [mine, theirs] of [
    [table, bob],
    [lobby, eve],
  ] as const) {
    await sent(mine, 21)
    await sent(theirs, 21)
    expect(contents(mine)).toEqual(contents(theirs))
  }
  expect(attempts).toBeGreaterThanOrEqual(1)
  expect(opened.filter(({ readyState }) => readyState === WebSocket.OPEN).length).toBe(1)
})

test("a server without channels gives each client a WebSocket", async ({ member, roomId }) => {
  const { opened, shared } = counted((href) => href.replace("channels=true", ""))
  await atTwoPlaces(member, roomId, shared)
  expect(opened.length).toBe(2)
})

test("users with tokens of their own do not share, and a newer token of the same user does", async ({
  member,
  roomId,
}) => {
  const { opened, shared } = counted()
  const first = await member("", roomId, { WebSocket: shared, token: token("ann", "Ann", 60) })
  const second = await member("", roomId, { WebSocket: shared, token: token("ann", "Ann", 61) })
  expect(second.self.get()?.userId).toBe(first.self.get()?.userId)
  expect(opened.length).toBe(1)
  const other = await member("", roomId, { WebSocket: shared, token: token("bob", "Bob") })
  expect(other.self.get()?.userId).not.toBe(first.self.get()?.userId)
  expect(opened.length).toBe(2)
})

test("rooms share a connection over HTTP too, where WebSockets are blocked", async ({
  balancer,
  member,
  roomId,
}) => {
  const other = randomUUID()
  const [bob, eve] = [await member("Bob", roomId), await member("Eve", other)]
  balancer.webSockets = "refuse"
  const shared = shareConnection({ WebSocket: withFallback({ WebSocket }) })
  const [table, lobby] = await Promise.all([
    member("Ann", roomId, { WebSocket: shared }),
    member("Ann", other, { WebSocket: shared }),
  ])
  await Promise.all([talk(table, bob), talk(lobby, eve)])
  await isMet(bob)
})

test("more rooms than one connection may have take another one", async ({ member }) => {
  const { opened, shared } = counted()
  const rooms = Array.from({ length: 18 }, () => randomUUID())
  await Promise.all(rooms.map((room) => member("Ann", room, { WebSocket: shared })))
  expect(opened.length).toBe(2)
})
