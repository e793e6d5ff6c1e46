/** Two clients in a room, without failures. */

import { expect } from "vitest"
import type { ClientEvent } from "../../src/index.js"
import { contents, sent, test, until } from "../support/fixture.js"

test("members see each other come and go", async ({ member, roomId }) => {
  const ann = await member("Ann", roomId)
  const bob = await member("Bob", roomId)
  await until(ann.others, (others) => others.length === 1)
  expect(ann.others.get()).toMatchObject([{ username: "Bob" }])
  expect(bob.others.get()).toMatchObject([{ username: "Ann" }])
  expect(bob.self.get()).toMatchObject({ username: "Bob" })
  bob.leave()
  await until(ann.others, (others) => others.length === 0)
  expect(bob.room.get()).toEqual({ status: "none" })
})

test("chat is shown at once and then as everyone sees it", async ({ member, roomId }) => {
  const [ann, bob] = [await member("Ann", roomId), await member("Bob", roomId)]
  const message = ann.sendChat("Hello")
  expect(ann.messages.get()).toEqual([{ ...message }])
  expect(message).toMatchObject({ state: "sending", own: true, seq: null, username: "Ann" })
  await sent(ann, 1)
  await sent(bob, 1)
  const [shown] = bob.messages.get()
  expect(shown).toMatchObject({
    id: message.id,
    content: "Hello",
    username: "Ann",
    own: false,
    state: "sent",
  })
  expect(ann.messages.get()).toEqual([{ ...shown, own: true }])
})

test("a member who comes later sees earlier chat as history", async ({ member, newClient, roomId }) => {
  const ann = await member("Ann", roomId)
  for (const content of ["one", "two", "three"]) ann.sendChat(content)
  await sent(ann, 3)
  const bob = newClient({ username: "Bob" })
  const received: [string, boolean][] = []
  const lengths = new Set<number>()
  bob.on("chat", ({ message, live }) => received.push([message.content, live]))
  bob.messages.subscribe(() => lengths.add(bob.messages.get().length))
  bob.join(roomId)
  bob.connect()
  await sent(bob, 3)
  ann.sendChat("four")
  await sent(bob, 4)
  expect(received).toEqual([
    ["one", false],
    ["two", false],
    ["three", false],
    ["four", true],
  ])
  // Earlier messages are shown when all of them have arrived.
  expect([...lengths]).toEqual([3, 4])
})

test("the last position of a cursor always arrives, and not all of those before", async ({
  member,
  roomId,
}) => {
  const [ann, bob] = [await member("Ann", roomId), await member("Bob", roomId)]
  let moves = 0
  bob.on("message", ({ message }) => {
    if (message.type === "CursorUpdate") moves += 1
  })
  for (let x = 1; x <= 100; x += 1) ann.moveCursor(x, 2 * x, "desk")
  const { userId } = ann.self.get() ?? { userId: "" }
  const cursors = await until(bob.cursors, (cursors) => cursors.get(userId)?.x === 100)
  expect(cursors.get(userId)).toMatchObject({ x: 100, y: 200, elementId: "desk" })
  expect(moves).toBeLessThan(5)
})

test("a cursor goes with its member", async ({ member, roomId }) => {
  const [ann, bob] = [await member("Ann", roomId), await member("Bob", roomId)]
  ann.moveCursor(1, 2)
  await until(bob.cursors, (cursors) => cursors.size === 1)
  ann.close()
  await until(bob.cursors, (cursors) => cursors.size === 0)
})

test("others see that a member types, until the message is sent", async ({ member, roomId }) => {
  const [ann, bob] = [await member("Ann", roomId), await member("Bob", roomId)]
  ann.setTyping(true)
  await until(bob.typing, (typing) => typing.length === 1)
  expect(bob.typing.get()).toMatchObject([{ username: "Ann" }])
  ann.sendChat("done")
  await until(bob.typing, (typing) => typing.length === 0)
})

test("another room begins empty, and receives nothing of the first", async ({ member, roomId }) => {
  const [ann, bob] = [await member("Ann", roomId), await member("Bob", roomId)]
  ann.sendChat("first room")
  await sent(bob, 1)
  const other = crypto.randomUUID()
  bob.join(other)
  expect([bob.messages.get(), bob.others.get(), bob.self.get()]).toEqual([[], [], null])
  await until(bob.room, (room) => room.status === "joined")
  ann.sendChat("still in the first room")
  await sent(ann, 2)
  bob.sendChat("second room")
  await sent(bob, 1)
  expect(contents(bob)).toEqual(["second room"])
})

test("invalid chat is refused here or by the server, and later messages go on", async ({
  member,
  newClient,
  roomId,
}) => {
  expect(() => newClient().sendChat("where?")).toThrow("no room")
  const ann = await member("Ann", roomId)
  expect(() => ann.sendChat(" \n")).toThrow(TypeError)
  const failed: ClientEvent[] = []
  ann.on("chatFailed", (event) => failed.push(event))
  const { id } = ann.sendChat("x".repeat(4001))
  ann.sendChat("short")
  await sent(ann, 1)
  expect(failed).toMatchObject([{ message: { id, state: "failed", error: { code: "chat_too_long" } } }])
  expect(ann.messages.get()).toMatchObject([{ content: "short" }, { id }])
  ann.discardChat(id)
  expect(contents(ann)).toEqual(["short"])
})

test("more than the server takes at once arrives all the same, in order", async ({ member, roomId }) => {
  const [ann, bob] = [await member("Ann", roomId), await member("Bob", roomId)]
  const refused = new Set<string>()
  ann.on("error", ({ error }) => refused.add(error.code))
  // Uses up the burst of messages that the gateway accepts.
  for (let count = 0; count < 250; count += 1) ann.send({ type: "Ping" })
  const written = Array.from({ length: 30 }, (_, index) => `message ${index}`)
  for (const content of written) ann.sendChat(content)
  await sent(bob, written.length)
  expect(contents(bob)).toEqual(written)
  expect(refused).toEqual(new Set(["rate_limited"]))
})

test("a bad id of a room is refused, and not tried again", async ({ newClient }) => {
  const client = newClient()
  client.connect()
  client.join("lobby")
  const room = await until(client.room, ({ status }) => status === "refused")
  expect(room).toMatchObject({ roomId: "lobby", code: "invalid_message" })
})
