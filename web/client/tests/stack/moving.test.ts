/** Gateways that ask their clients to move: the next connection is open before the old one closes. */

import { randomUUID } from "node:crypto"
import { setTimeout as delay } from "node:timers/promises"
import { expect, vi } from "vitest"
import { WebSocket } from "ws"
import type { StudyroomClient, WebSocketConstructor } from "../../src/index.js"
import { shareConnection } from "../../src/rooms/index.js"
import { contents, DEADLINE_MS, sent, test, until } from "../support/fixture.js"
import type { Gateway } from "../support/stack.js"

const isJoined = ({ status }: { status: string }) => status === "joined"
const soon = (check: () => void, timeout = DEADLINE_MS) => vi.waitFor(check, { timeout, interval: 10 })

/** Collects everything that an application sees of a connection or of others that come and go. */
function unrest(client: StudyroomClient): string[] {
  const seen: string[] = []
  for (const readable of [client.connection, client.room])
    readable.subscribe(() => {
      const { status } = readable.get()
      if (status !== "open" && status !== "joined") seen.push(status)
    })
  client.others.subscribe(() => seen.push(`${client.others.get().length} others`))
  for (const type of [
    "open",
    "close",
    "error",
    "userJoined",
    "userLeft",
    "historyReset",
    "chatFailed",
  ] as const)
    client.on(type, () => seen.push(type))
  return seen
}

/** Stop a gateway as a rollout does. Resolves when another process has its place. */
async function restart(gateways: () => Gateway[], name: string): Promise<void> {
  const find = () => gateways().find((gateway) => gateway.name === name)
  const { pid = 0, url } = find() ?? {}
  process.kill(pid, "SIGTERM")
  await soon(() => expect(find()?.pid).not.toBe(pid), 40_000)
  await vi.waitFor(async () => expect((await fetch(new URL("/health", url))).ok).toBe(true), {
    timeout: DEADLINE_MS,
    interval: 50,
  })
}

/** A WebSocket on which the server seems to ask for a move after `JoinedRoom`, `times` in all. */
function asking(times: number, withinMs: number): WebSocketConstructor {
  const moving = Buffer.from(`{"type":"Moving","payload":{"within_ms":${withinMs}}}`)
  let left = times
  return class extends WebSocket {
    constructor(url: string, protocols?: string[]) {
      super(url, protocols)
      this.on("message", (data) => {
        if (String(data).startsWith('{"type":"JoinedRoom"') && left-- > 0)
          setImmediate(() => this.emit("message", moving, false))
      })
    }
  }
}

test("people who write, point, type and send events while one gateway after another restarts notice nothing", async ({
  balancer,
  gateways,
  member,
  roomId,
}) => {
  balancer.prefer("gateway-0")
  const [ann, bob] = [await member("Ann", roomId), await member("Bob", roomId)]
  await Promise.all([ann, bob].map(({ others }) => until(others, ({ length }) => length === 1)))
  const seen = [unrest(ann), unrest(bob)]
  const typing: number[] = []
  const events: unknown[] = []
  ann.on("broadcast", ({ data }) => events.push(data))
  bob.setTyping(true)
  await until(ann.typing, ({ length }) => length === 1)
  ann.typing.subscribe(() => typing.push(ann.typing.get().length))
  bob.updatePresence({ mood: "calm" })
  let [number, live] = [0, true]
  const acting = (async () => {
    for (; live; number += 1) {
      ann.sendChat(`a ${number}`)
      bob.broadcast("count", number)
      bob.setTyping(true)
      bob.moveCursor(number, 0)
      await delay(50)
    }
  })()
  for (const name of ["gateway-0", "gateway-1"]) {
    await restart(gateways, name)
    await soon(() => expect(balancer.open.filter((to) => to === name)).toEqual([]))
    balancer.prefer(name)
  }
  live = false
  await acting
  await Promise.all([sent(ann, number), sent(bob, number)])
  const all = Array.from({ length: number }, (_, index) => index)
  await soon(() => expect(events).toContain(number - 1))
  await until(ann.cursors, (cursors) => [...cursors.values()].some(({ x }) => x === number - 1))
  expect(contents(bob)).toEqual(all.map((index) => `a ${index}`))
  expect(contents(ann)).toEqual(contents(bob))
  expect(events).toHaveLength(new Set(events).size)
  expect(events.length).toBeGreaterThan(0.9 * number)
  expect(ann.others.get()[0]?.presence).toEqual({ mood: "calm" })
  expect(seen.flat().filter((one) => one !== "1 others")).toEqual([])
  expect(new Set(typing)).toEqual(new Set([1]))
  await soon(() => expect(balancer.open).toHaveLength(2))
})

test("rooms that share a connection move together when its gateway restarts, and nobody notices", async ({
  balancer,
  gateways,
  member,
  roomId,
}) => {
  const [shared, other] = [shareConnection({ WebSocket: WebSocket as never }), randomUUID()]
  balancer.prefer("gateway-1")
  const [bob, eve] = [await member("Bob", roomId), await member("Eve", other)]
  balancer.prefer("gateway-0")
  const table = await member("Ann", roomId, { WebSocket: shared })
  const lobby = await member("Ann", other, { WebSocket: shared })
  await Promise.all([bob, eve, table, lobby].map(({ others }) => until(others, ({ length }) => length === 1)))
  const seen = [bob, eve, table, lobby].map(unrest)
  await restart(gateways, "gateway-0")
  await soon(() => expect(balancer.open).toEqual(["gateway-1", "gateway-1", "gateway-1"]))
  for (const client of [table, lobby]) client.sendChat("still here")
  await Promise.all([bob, eve, table, lobby].map((client) => sent(client, 1)))
  expect(seen.flat()).toEqual([])
})

test("a client that can go nowhere stays until the gateway closes its connection, with few attempts", async ({
  balancer,
  gateways,
  member,
  roomId,
}) => {
  balancer.prefer("gateway-0")
  const ann = await member("Ann", roomId)
  const seen = unrest(ann)
  const before = balancer.arrivals.length
  balancer.home(roomId, null)
  const restarted = restart(gateways, "gateway-0")
  await new Promise<void>((resolve) => {
    ann.on("message", ({ message }) => message.type === "Moving" && resolve())
  })
  ann.sendChat("still here")
  await sent(ann, 1)
  expect(seen).toEqual([])
  await until(ann.connection, ({ status }) => status === "waiting")
  expect(ann.connection.get()).toMatchObject({ code: 1012 })
  expect(balancer.arrivals.length - before).toBeGreaterThan(0)
  expect(balancer.arrivals.length - before).toBeLessThan(40)
  balancer.home(roomId, "gateway-1")
  await until(ann.room, isJoined)
  await restarted
})

test("a client that is asked to move has one connection in the end, and its user was never away", async ({
  balancer,
  member,
  roomId,
}) => {
  const bob = await member("Bob", roomId)
  const ann = await member("Ann", roomId, { WebSocket: asking(3, 100) })
  await until(bob.others, ({ length }) => length === 1)
  const seen = [unrest(ann), unrest(bob)]
  await soon(() => expect(balancer.requests.length).toBe(5))
  await soon(() => expect(balancer.open).toHaveLength(2))
  expect(balancer.requests.every((line) => line.includes("moving=true"))).toBe(true)
  ann.sendChat("after the moves")
  await Promise.all([sent(ann, 1), sent(bob, 1)])
  expect(seen.flat()).toEqual([])
})

test("a user who changes rooms during a move is in the new room with one connection", async ({
  balancer,
  member,
  roomId,
}) => {
  const ann = await member("Ann", roomId, { WebSocket: asking(1, 40) })
  const other = randomUUID()
  await soon(() => expect(balancer.requests.length).toBe(2))
  ann.join(other)
  await until(ann.room, (room) => room.status === "joined" && room.roomId === other)
  ann.sendChat("in the other room")
  await sent(ann, 1)
  await soon(() => expect(balancer.open).toHaveLength(1))
  ann.leave()
  await until(ann.room, ({ status }) => status === "none")
})

test("a connection that is lost during a move is replaced as always", async ({
  balancer,
  member,
  roomId,
}) => {
  const ann = await member("Ann", roomId, { WebSocket: asking(1, 40) })
  await soon(() => expect(balancer.requests.length).toBe(2))
  balancer.cut()
  balancer.heal()
  ann.sendChat("here again")
  await sent(ann, 1)
  expect(ann.room.get().status).toBe("joined")
  await soon(() => expect(balancer.open).toHaveLength(1))
})
