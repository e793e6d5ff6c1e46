// @vitest-environment jsdom
/** A page that sleeps, loses the network, is hidden away and comes back. */

import { expect } from "vitest"
import { test, until } from "../support/fixture.js"

/** Nothing happens by itself in the time of a test. */
const PATIENT = { baseMs: 600_000, capMs: 600_000 }

const isWaiting = ({ status }: { status: string }) => status === "waiting"
const isJoined = ({ status }: { status: string }) => status === "joined"

test("a page that is online again does not wait any longer", async ({ balancer, member, roomId }) => {
  const ann = await member("Ann", roomId, { reconnect: PATIENT })
  balancer.cut()
  await until(ann.connection, isWaiting)
  balancer.mend()
  window.dispatchEvent(new Event("online"))
  await until(ann.room, isJoined)
})

test("a page that is looked at again asks whether the connection still is one", async ({
  balancer,
  member,
  roomId,
}) => {
  const ann = await member("Ann", roomId, { heartbeat: { intervalMs: 600_000, timeoutMs: 200 } })
  const pong = new Promise((resolve) => {
    ann.on("message", ({ message }) => message.type === "Pong" && resolve(message))
  })
  document.dispatchEvent(new Event("visibilitychange"))
  await pong
  balancer.stall()
  balancer.mend()
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
