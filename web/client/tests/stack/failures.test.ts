/** Connections that are lost in every way, while people write. */

import { setTimeout as delay } from "node:timers/promises"
import { expect, vi } from "vitest"
import { WebSocket } from "ws"
import type { ClientEvent, StudyroomClient } from "../../src/index.js"
import { contents, DEADLINE_MS, sent, test, until } from "../support/fixture.js"
import { CHAT_RETRY_SECONDS } from "../support/stack.js"
import { token } from "../support/token.js"

const isWaiting = ({ status }: { status: string }) => status === "waiting"
const isJoined = ({ status }: { status: string }) => status === "joined"

/** Collects events of one type from now on. */
function record<T extends ClientEvent["type"]>(
  client: StudyroomClient,
  type: T,
): Extract<ClientEvent, { type: T }>[] {
  const events: Extract<ClientEvent, { type: T }>[] = []
  client.on(type, (event) => events.push(event as Extract<ClientEvent, { type: T }>))
  return events
}

async function gatewaysBack(gateways: () => unknown[], before: string): Promise<void> {
  const waiting = { timeout: DEADLINE_MS, interval: 50 }
  await vi.waitFor(() => expect(JSON.stringify(gateways())).not.toBe(before), waiting)
}

test("a gateway is killed while people write: both resume, and every message is there once, in the same order", async ({
  balancer,
  gateways,
  member,
  roomId,
}) => {
  const before = JSON.stringify(gateways())
  const ann = await member("", roomId, { token: token("ann", "Ann") })
  const bob = await member("", roomId, { token: token("bob", "Bob") })
  await Promise.all([ann, bob].map(({ others }) => until(others, ({ length }) => length === 1)))
  const resets = [record(ann, "historyReset"), record(bob, "historyReset")]
  const comings = [
    record(ann, "userLeft"),
    record(bob, "userLeft"),
    record(ann, "userJoined"),
    record(bob, "userJoined"),
  ]
  const rosters: number[] = []
  ann.others.subscribe(() => rosters.push(ann.others.get().length))
  const total = 120
  const writing = (async () => {
    for (let number = 0; number < total; number += 1) {
      ann.sendChat(`a ${number}`)
      bob.sendChat(`b ${number}`)
      await delay(10)
    }
  })()
  await sent(ann, 40)
  const victim = gateways().find(({ name }) => name === balancer.newest)
  process.kill(victim?.pid ?? 0, "SIGKILL")
  await writing
  await Promise.all([sent(ann, 2 * total), sent(bob, 2 * total)])
  expect(contents(ann)).toEqual(contents(bob))
  for (const writer of ["a", "b"]) {
    const own = contents(ann).filter((content) => content.startsWith(writer))
    expect(own).toEqual(Array.from({ length: total }, (_, number) => `${writer} ${number}`))
  }
  expect([resets, comings, rosters]).toEqual([[[], []], [[], [], [], []], []])
  await gatewaysBack(gateways, before)
})

/** The WebSocket of a client that does not know `Moving`. */
class Old extends WebSocket {
  constructor(url: string, protocols?: string[]) {
    super(url.replace("&moving=true", ""), protocols)
  }
}

test("a client leaves a gateway that stops when it asks, and not before", async ({
  balancer,
  gateways,
  member,
  roomId,
}) => {
  const before = JSON.stringify(gateways())
  const ann = await member("Ann", roomId, { reconnect: { baseMs: 1, capMs: 1 }, WebSocket: Old })
  const closes = record(ann, "close")
  const stopped = gateways().find(({ name }) => name === balancer.newest)
  process.kill(stopped?.pid ?? 0, "SIGTERM")
  const waiting = await until(ann.connection, isWaiting)
  const [closedAt, closedOn] = [performance.now(), Date.now()]
  expect(closes).toMatchObject([
    { code: 1012, reconnects: true, reason: expect.stringMatching(/^reconnect_after_ms=\d+$/) },
  ])
  const asked = Number(closes[0]?.reason.split("=")[1])
  expect(waiting.status === "waiting" && waiting.retryAt - closedOn).toBeLessThanOrEqual(asked)
  await until(ann.room, isJoined)
  // Only the first one counts. The balancer may lead it to the stopping gateway, which accepts nobody, and others
  // follow.
  const next = balancer.arrivals.find((arrival) => arrival > closedAt) ?? Number.NaN
  expect(next - closedAt).toBeGreaterThan(asked - 20)
  await gatewaysBack(gateways, before)
})

test("messages written offline are sent in order when the connection is back", async ({
  balancer,
  member,
  roomId,
}) => {
  const [ann, bob] = [await member("Ann", roomId), await member("Bob", roomId)]
  ann.sendChat("before")
  await Promise.all([sent(ann, 1), sent(bob, 1)])
  balancer.cut()
  await until(ann.connection, isWaiting)
  for (const content of ["one", "two", "three"]) ann.sendChat(content)
  expect(ann.messages.get().map(({ state }) => state)).toEqual(["sent", "sending", "sending", "sending"])
  balancer.heal()
  await Promise.all([sent(ann, 4), sent(bob, 4)])
  expect(contents(bob)).toEqual(["before", "one", "two", "three"])
  expect(contents(ann)).toEqual(contents(bob))
})

test("a message that was stored just before the connection broke is not sent again", async ({
  balancer,
  member,
  roomId,
}) => {
  const ann = await member("", roomId, { token: token("ann", "Ann") })
  const bob = await member("Bob", roomId)
  const answered = new Promise<void>((resolve) => {
    bob.on("chat", () => resolve())
  })
  // Ann's answer is delayed, and then lost.
  ann.sendChat("stored")
  balancer.stall()
  balancer.heal()
  await Promise.race([answered, delay(500)])
  balancer.cut()
  balancer.heal()
  await sent(ann, 1)
  await sent(bob, 1)
  expect([contents(ann), contents(bob)]).toEqual([["stored"], ["stored"]])
})

test("a message with an unknown outcome is not sent again when the server may have forgotten its id", async ({
  balancer,
  member,
  roomId,
}) => {
  const ann = await member("", roomId, { token: token("ann", "Ann") })
  const failed = record(ann, "chatFailed")
  balancer.stall()
  const { id } = ann.sendChat("lost on the way")
  balancer.cut()
  await until(ann.connection, isWaiting)
  await until(ann.messages, ([message]) => message?.state === "failed", CHAT_RETRY_SECONDS * 1000)
  balancer.heal()
  await until(ann.room, isJoined)
  ann.sendChat("after")
  await sent(ann, 1)
  expect(failed).toMatchObject([{ message: { id, error: { code: "expired" } } }])
  expect(contents(ann)).toEqual(["after", "lost on the way"])
  ann.retryChat(id)
  await sent(ann, 2)
  expect(contents(ann)).toEqual(["after", "lost on the way"])
  expect(ann.messages.get()[1]?.id).not.toBe(id)
})

test("a silently dead connection is found by a ping", async ({ balancer, gateways, member, roomId }) => {
  const ann = await member("Ann", roomId, { heartbeat: { intervalMs: 300, timeoutMs: 300 } })
  const closes = record(ann, "close")
  const frozen = gateways().find(({ name }) => name === balancer.newest)
  const other = gateways().find(({ name }) => name !== balancer.newest)
  balancer.prefer(other?.name ?? "")
  process.kill(frozen?.pid ?? 0, "SIGSTOP")
  try {
    await until(ann.connection, isWaiting)
    expect(closes).toMatchObject([{ code: 1006, reason: "no answer", reconnects: true }])
    await until(ann.room, isJoined)
  } finally {
    process.kill(frozen?.pid ?? 0, "SIGCONT")
  }
  ann.sendChat("alive")
  await sent(ann, 1)
})

test("a silent connection stays", async ({ member, roomId }) => {
  const ann = await member("Ann", roomId, { heartbeat: { intervalMs: 50, timeoutMs: 2000 } })
  const closes = record(ann, "close")
  let pongs = 0
  await new Promise<void>((resolve) => {
    ann.on("message", ({ message }) => {
      if (message.type === "Pong" && ++pongs === 5) resolve()
    })
  })
  expect(closes).toEqual([])
})

test("a handshake that hangs does not keep from trying again", async ({ balancer, newClient }) => {
  balancer.stall()
  const client = newClient()
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date", "performance"] })
  try {
    client.connect()
    await vi.advanceTimersByTimeAsync(15_000)
    expect(client.connection.get()).toMatchObject({ status: "waiting", code: 1006 })
  } finally {
    vi.useRealTimers()
  }
})

test("after a flood (4500) nothing is tried again by itself, and messages fail", async ({
  balancer,
  member,
  roomId,
}) => {
  const ann = await member("Ann", roomId)
  const before = balancer.arrivals.length
  for (let count = 0; count < 8000; count += 1) ann.send({ type: "Ping" })
  ann.sendChat("too late")
  const state = await until(ann.connection, ({ status }) => status === "closed")
  expect(state).toMatchObject({ code: 4500, cause: { code: "server_closed" } })
  ann.sendChat("later still")
  const failed = { state: "failed", error: { code: "closed" } }
  expect(ann.messages.get()).toMatchObject([failed, failed])
  await expect(ann.join(roomId)).rejects.toMatchObject({ code: "closed" })
  expect(balancer.arrivals.length).toBe(before)
  ann.connect()
  await until(ann.room, isJoined)
})

test("a client that was closed comes back into the room by connecting, and messages written meanwhile are sent", async ({
  member,
  roomId,
}) => {
  const [ann, bob] = [await member("Ann", roomId), await member("Bob", roomId)]
  await until(bob.others, (others) => others.length === 1)
  ann.close()
  await until(bob.others, (others) => others.length === 0)
  expect(ann.connection.get()).toMatchObject({
    status: "closed",
    code: 1000,
    cause: { code: "close_called" },
  })
  ann.sendChat("written while away")
  ann.connect()
  await sent(bob, 1)
  expect(contents(bob)).toEqual(["written while away"])
})

test("a user who comes back under another id does not see themselves as somebody else", async ({
  balancer,
  member,
  roomId,
}) => {
  let connection = 0
  const users = () => token(`ann ${connection++}`, "Ann")
  const ann = await member("Ann", roomId, { token: users })
  const bob = await member("Bob", roomId)
  ann.sendChat("mine")
  await sent(ann, 1)
  const others: string[][] = []
  ann.others.subscribe(() => others.push(ann.others.get().map(({ username }) => username)))
  balancer.cut()
  await Promise.all([ann, bob].map(({ connection }) => until(connection, isWaiting)))
  balancer.heal()
  await Promise.all([ann, bob].map(({ room }) => until(room, isJoined)))
  ann.sendChat("mine too")
  await sent(ann, 2)
  expect(ann.messages.get().map(({ own }) => own)).toEqual([true, true])
  expect(others.flat()).not.toContain("Ann")
})
