// @vitest-environment jsdom
/** A page that sleeps, loses the network, is left and comes back. */

import { expect, onTestFinished } from "vitest"
import { WebSocket } from "ws"
import { StudyroomClient } from "../../src/index.js"
import { test, until } from "../support/fixture.js"

/** Waits that are longer than any test, so that the client does not reconnect by itself. */
const PATIENT = { baseMs: 600_000, capMs: 600_000 }

const isWaiting = ({ status }: { status: string }) => status === "waiting"
const isJoined = ({ status }: { status: string }) => status === "joined"

test("a page that is online again does not wait any longer", async ({ balancer, member, roomId }) => {
  const ann = await member("Ann", roomId, { reconnect: PATIENT })
  balancer.cut()
  await until(ann.connection, isWaiting)
  balancer.heal()
  window.dispatchEvent(new Event("online"))
  await until(ann.room, isJoined)
})

test("a page that is looked at again checks its connection", async ({ balancer, member, roomId }) => {
  const ann = await member("Ann", roomId, { heartbeat: { intervalMs: 600_000, timeoutMs: 200 } })
  const pong = new Promise((resolve) => {
    ann.on("message", ({ message }) => message.type === "Pong" && resolve(message))
  })
  document.dispatchEvent(new Event("visibilitychange"))
  await pong
  balancer.stall()
  balancer.heal()
  document.dispatchEvent(new Event("visibilitychange"))
  await until(ann.connection, isWaiting)
  await until(ann.room, isJoined)
})

test("a page that goes lets go of its connection, and has it again when it comes back", async ({
  balancer,
  member,
  roomId,
}) => {
  const [ann, bob] = [await member("Ann", roomId), await member("Bob", roomId)]
  const left: string[] = []
  bob.on("userLeft", ({ member }) => left.push(member.username))
  window.dispatchEvent(new Event("pagehide"))
  for (const client of [ann, bob])
    expect(client.connection.get()).toMatchObject({ status: "waiting", code: 1001 })
  const before = balancer.arrivals.length
  window.dispatchEvent(new Event("pageshow"))
  await Promise.all([ann, bob].map(({ room }) => until(room, isJoined)))
  expect(balancer.arrivals.length).toBe(before + 2)
  expect(left).toEqual([])
})

test("a guest whose page is loaded again is the same one, without an option", async ({
  balancer,
  member,
  roomId,
}) => {
  const open = () => {
    const client = new StudyroomClient({ url: balancer.url, username: "Guest", WebSocket })
    onTestFinished(client.close)
    client.connect()
    return client
  }
  const ann = await member("Ann", roomId)
  const before = open()
  await before.join(roomId)
  await until(ann.others, ({ length }) => length === 1)
  const changes: string[] = []
  for (const type of ["userJoined", "userLeft"] as const) ann.on(type, () => changes.push(type))
  // A reload: the old page never says that it goes.
  const after = open()
  await after.join(roomId)
  expect(after.self.get()).toEqual(before.self.get())
  after.sendChat("here I am")
  await until(ann.messages, ({ length }) => length === 1)
  expect(changes).toEqual([])
})

test("a client that was closed does not listen to the page any more", async ({
  balancer,
  member,
  roomId,
}) => {
  const ann = await member("Ann", roomId)
  ann.close()
  const before = balancer.arrivals.length
  for (const event of ["online", "pagehide", "pageshow"]) window.dispatchEvent(new Event(event))
  expect(ann.connection.get().status).toBe("closed")
  expect(balancer.arrivals.length).toBe(before)
})
