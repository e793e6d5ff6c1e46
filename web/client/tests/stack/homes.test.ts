/** Rooms with a home: the address names the room, and a client that changes rooms moves. Gateways have `room_hints`. */

import { randomUUID } from "node:crypto"
import { expect, vi } from "vitest"
import { WebSocket } from "ws"
import type { StudyroomClient, WebSocketLike } from "../../src/index.js"
import { type Balancer, roomIn } from "../support/balancer.js"
import { contents, DEADLINE_MS, sent, test, until } from "../support/fixture.js"
import { token } from "../support/token.js"

const soon = (check: () => void) => vi.waitFor(check, { timeout: DEADLINE_MS, interval: 10 })
const rooms = ({ requests }: Balancer) => requests.map(roomIn)
const isIn = (client: StudyroomClient, roomId: string) =>
  until(client.room, (room) => room.status === "joined" && room.roomId === roomId)

/** Returns another room, which lives on another gateway. */
function another(balancer: Balancer, roomId: string): string {
  const other = randomUUID()
  balancer.home(roomId, "gateway-0")
  balancer.home(other, "gateway-1")
  return other
}

/** Collects the states and events of a connection that an application sees. */
function watched(client: StudyroomClient): string[] {
  const seen: string[] = []
  client.connection.subscribe(() => seen.push(client.connection.get().status))
  for (const type of ["open", "close", "error", "chatFailed"] as const) client.on(type, () => seen.push(type))
  return seen
}

test("every connection names the room that is wanted then, beside who connects", async ({
  balancer,
  member,
  roomId,
}) => {
  const ann = await member("Ann", roomId.toUpperCase())
  balancer.cut()
  balancer.heal()
  await until(ann.room, ({ status }) => status !== "joined")
  await until(ann.room, ({ status }) => status === "joined")
  expect(rooms(balancer)).toEqual([roomId, roomId])
  expect(balancer.requests[1]).toContain("username=Ann")
  balancer.cut()
  await until(ann.connection, ({ status }) => status === "waiting")
  const other = randomUUID()
  ann.join(other)
  balancer.heal()
  await isIn(ann, other)
  expect(rooms(balancer)).toEqual([roomId, roomId, other])
  ann.leave()
  ann.close()
  ann.connect()
  await until(ann.connection, ({ status }) => status === "open")
  expect(rooms(balancer).at(-1)).toBeNull()
})

test("the room is the one that is wanted when the token is there", async ({
  balancer,
  newClient,
  roomId,
}) => {
  let give: (token: string) => void = () => {}
  const ann = newClient({ token: () => new Promise<string>((resolve) => (give = resolve)) })
  ann.connect()
  ann.join(randomUUID())
  ann.join(roomId)
  give(token("ann", "Ann"))
  await isIn(ann, roomId)
  expect(rooms(balancer)).toEqual([roomId])
  expect(ann.self.get()?.username).toBe("Ann")
})

test("a client that changes rooms moves to the gateway of the new one, and nobody sees more than a change of rooms", async ({
  balancer,
  member,
  roomId,
}) => {
  const other = another(balancer, roomId)
  const [ann, bob, eve] = [
    await member("Ann", roomId),
    await member("Bob", roomId),
    await member("Eve", other),
  ]
  const { userId } = ann.self.get() ?? {}
  const seen = watched(ann)
  const changes: string[] = []
  for (const client of [bob, eve])
    for (const type of ["userJoined", "userLeft"] as const)
      client.on(type, ({ member }) => changes.push(`${type} ${member.username}`))
  ann.join(other)
  ann.sendChat("first")
  ann.send({ type: "Chat", payload: { content: "by hand" } })
  ann.sendChat("second")
  await isIn(ann, other)
  await sent(ann, 3)
  await sent(eve, 3)
  expect(contents(eve).sort()).toEqual(["by hand", "first", "second"])
  expect(ann.self.get()?.userId).toBe(userId)
  expect(seen).toEqual(["open"])
  expect(changes).toEqual(["userLeft Ann", "userJoined Ann"])
  await soon(() => expect(balancer.open.sort()).toEqual(["gateway-0", "gateway-1", "gateway-1"]))
  expect(rooms(balancer)).toEqual([roomId, roomId, other, other])
})

test("the old room does not wait for the new connection", async ({ balancer, member, roomId }) => {
  const other = another(balancer, roomId)
  const tokens = [token("ann", "Ann")]
  const ann = await member("Ann", roomId, { token: () => tokens.shift() ?? new Promise<string>(() => {}) })
  const bob = await member("Bob", roomId)
  ann.join(other)
  await until(bob.others, (others) => others.length === 0)
  expect(ann.room.get()).toEqual({ status: "joining", roomId: other })
  expect(ann.connection.get().status).toBe("open")
})

test("when the new connection fails the room is joined on the old one, once and for all", async ({
  balancer,
  member,
  roomId,
}) => {
  const other = another(balancer, roomId)
  const ann = await member("Ann", roomId)
  const seen = watched(ann)
  balancer.home(other, null)
  ann.join(other)
  ann.sendChat("still here")
  await isIn(ann, other)
  await sent(ann, 1)
  expect(seen).toEqual([])
  expect(rooms(balancer)).toEqual([roomId, other])
  expect(balancer.open).toEqual(["gateway-0"])
})

test("a new connection that takes too long is not waited for", async ({ balancer, member, roomId }) => {
  const other = another(balancer, roomId)
  const tokens = [token("ann", "Ann")]
  const ann = await member("Ann", roomId, { token: () => tokens.shift() ?? new Promise<string>(() => {}) })
  const seen = watched(ann)
  ann.join(other)
  await isIn(ann, other)
  expect(seen).toEqual([])
  expect(balancer.open).toEqual(["gateway-0"])
})

test("when the old connection is lost meanwhile, the next one is for the new room", async ({
  balancer,
  member,
  roomId,
}) => {
  const other = another(balancer, roomId)
  let held = false
  const ann = await member("Ann", roomId, {
    token: () => (held ? new Promise<string>(() => {}) : token("ann", "Ann")),
  })
  held = true
  ann.join(other)
  ann.sendChat("meanwhile")
  held = false
  balancer.cut()
  balancer.heal()
  await isIn(ann, other)
  await sent(ann, 1)
  await soon(() => expect(balancer.open).toEqual(["gateway-1"]))
})

test("a user who changes their mind ends in the last room, with one connection", async ({
  balancer,
  member,
  roomId,
}) => {
  const [other, third] = [another(balancer, roomId), randomUUID()]
  balancer.home(third, "gateway-1")
  const ann = await member("Ann", roomId)
  const seen = watched(ann)
  ann.join(other)
  ann.join(roomId)
  await isIn(ann, roomId)
  await soon(() => expect(balancer.open).toEqual(["gateway-0"]))
  ann.join(other)
  ann.join(third)
  await isIn(ann, third)
  await soon(() => expect(balancer.open).toEqual(["gateway-1"]))
  ann.join(roomId)
  ann.leave()
  await until(ann.room, ({ status }) => status === "none")
  await soon(() => expect(balancer.open).toEqual(["gateway-1"]))
  expect(new Set(seen)).toEqual(new Set(["open"]))
  expect(seen.length).toBe(1)
})

test("a client that connected before it wanted a room moves to the gateway of the room", async ({
  balancer,
  newClient,
  roomId,
}) => {
  balancer.home(roomId, "gateway-1")
  balancer.prefer("gateway-0")
  const ann = newClient()
  ann.connect()
  await until(ann.connection, ({ status }) => status === "open")
  ann.join(roomId)
  await isIn(ann, roomId)
  await soon(() => expect(balancer.open).toEqual(["gateway-1"]))
})

test("where the server does not report that hints count, the connection stays", async ({
  balancer,
  member,
  roomId,
}) => {
  const WithoutHints = rewritten((text) => text.replace(',"room_hints":true', ""))
  const ann = await member("Ann", roomId, { WebSocket: WithoutHints })
  const other = another(balancer, roomId)
  ann.join(other)
  await isIn(ann, other)
  expect(rooms(balancer)).toEqual([roomId])
})

test("a member of a large room connects again with the hint that it got, until it changes rooms", async ({
  balancer,
  member,
  roomId,
}) => {
  const [part, other] = [randomUUID(), randomUUID()]
  const InPart = rewritten((text) => text.replace('"epoch":', `"room_hint":"${part}","epoch":`))
  const ann = await member("Ann", roomId, { WebSocket: InPart })
  const again = async () => {
    balancer.cut()
    balancer.heal()
    await until(ann.room, ({ status }) => status !== "joined")
    await until(ann.room, ({ status }) => status === "joined")
  }
  await again()
  expect(rooms(balancer)).toEqual([roomId, part])
  ann.join(roomId)
  ann.join(other)
  await isIn(ann, other)
  expect(rooms(balancer)).toEqual([roomId, part, other])
})

test("a member that the server asks to move connects again with the hint of the close", async ({
  balancer,
  member,
  roomId,
}) => {
  const part = randomUUID()
  const Asked = rewritten((text) => text, { code: 1012, reason: `reconnect_after_ms=20 room_hint=${part}` })
  const ann = await member("Ann", roomId, { WebSocket: Asked })
  const bob = await member("Bob", roomId)
  balancer.cut()
  balancer.heal()
  await until(ann.room, ({ status }) => status !== "joined")
  await until(ann.room, ({ status }) => status === "joined")
  await until(bob.room, ({ status }) => status === "joined")
  expect(rooms(balancer).filter((room) => room === part)).toHaveLength(1)
})

interface Close {
  code: number
  reason: string
}

/** A WebSocket that changes the messages of the gateway, and its close. */
function rewritten(rewrite: (text: string) => string, close?: Close): new (url: string) => WebSocketLike {
  return class implements WebSocketLike {
    readonly #socket: WebSocket
    onmessage: unknown = null
    onclose: unknown = null
    onerror: unknown = null

    constructor(url: string) {
      this.#socket = new WebSocket(url)
      this.#socket.on("message", (data) => {
        if (typeof this.onmessage === "function") this.onmessage({ data: rewrite(String(data)) })
      })
      this.#socket.on("close", (code, reason) => {
        if (typeof this.onclose === "function") this.onclose(close ?? { code, reason: String(reason) })
      })
      this.#socket.on("error", () => {})
    }

    get readyState(): number {
      return this.#socket.readyState
    }

    send(text: string): void {
      this.#socket.send(text)
    }

    close(code?: number): void {
      this.#socket.close(code)
    }
  }
}
