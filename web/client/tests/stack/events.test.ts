/** Broadcast events and custom presence between clients on two gateways. */

import { expect } from "vitest"
import { test, until } from "../support/fixture.js"

test("an event reaches the others and not its sender", async ({ member, roomId }) => {
  const [ann, bob] = [await member("Ann", roomId), await member("Bob", roomId)]
  await until(ann.others, (others) => others.length === 1)
  const received: unknown[] = []
  bob.on("broadcast", ({ type: _, ...event }) => received.push(event))
  ann.on("broadcast", () => received.push("an own event"))
  const userId = ann.self.get()?.userId
  expect(ann.broadcast("reaction", { emoji: "🎉" })).toBe(true)
  expect(ann.broadcast("laser", undefined, { key: "pointer" })).toBe(true)
  await expect
    .poll(() => received)
    .toEqual([
      { userId, event: "reaction", data: { emoji: "🎉" }, key: null },
      { userId, event: "laser", data: null, key: "pointer" },
    ])
})

test("outside a room no event is sent", ({ newClient }) => {
  expect(newClient().broadcast("reaction")).toBe(false)
})

test("a refused event or change of presence fails no chat message", async ({ member, roomId }) => {
  const ann = await member("Ann", roomId)
  const codes: string[] = []
  ann.on("error", ({ error }) => codes.push(error.code))
  const messages = [ann.sendChat("one")]
  ann.broadcast("large", "x".repeat(9_000))
  ann.updatePresence({ large: "x".repeat(3_000) })
  messages.push(ann.sendChat("two"))
  expect(await Promise.all(messages)).toMatchObject([{ state: "sent" }, { state: "sent" }])
  await expect.poll(() => codes.sort()).toEqual(["broadcast_too_large", "presence_too_large"])
  expect(ann.presence.get()).toEqual({})
})

test("presence is shown to the others, and newcomers get it", async ({ member, roomId }) => {
  const [ann, bob] = [await member("Ann", roomId), await member("Bob", roomId)]
  ann.updatePresence({ status: "reading", page: 1 })
  expect(ann.presence.get()).toEqual({ status: "reading", page: 1 })
  await until(bob.others, ([other]) => other?.presence.page === 1)
  ann.updatePresence({ status: null })
  await until(bob.others, ([other]) => other?.presence.status === undefined)
  const eve = await member("Eve", roomId)
  const shown = eve.others.get().find(({ username }) => username === "Ann")
  expect(shown?.presence).toEqual({ page: 1 })
  await until(ann.self, (self) => self?.presence.page === 1)
})

test("presence survives the death of a gateway, and comes back if the server has lost it", async ({
  member,
  gateways,
  roomId,
}) => {
  const [ann, bob] = [await member("Ann", roomId), await member("Bob", roomId)]
  const left: string[] = []
  bob.on("userLeft", ({ member }) => left.push(member.username))
  ann.updatePresence({ hand: true })
  await until(bob.others, ([other]) => other?.presence.hand === true)
  for (const { pid } of gateways()) process.kill(pid, "SIGKILL")
  await until(ann.connection, ({ status }) => status !== "open")
  ann.updatePresence({ seat: 2 })
  await until(bob.others, ([other]) => other?.presence.seat === 2 && other.presence.hand === true)
  expect(left).toEqual([])
  // After a leave the server has no fields of the user any more, and a client that joins again starts without.
  ann.leave()
  await until(bob.others, (others) => others.length === 0)
  ann.join(roomId)
  await until(bob.others, ([other]) => other !== undefined)
  expect(ann.presence.get()).toEqual({})
})
