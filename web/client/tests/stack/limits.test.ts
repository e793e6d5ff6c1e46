/** Messages over the limits of the server. */

import { expect, onTestFinished, vi } from "vitest"
import { contents, sent, test, until } from "../support/fixture.js"

test("the limits are those of the server", async ({ member, newClient, roomId }) => {
  const limits = { messageBytes: 65_536, chatChars: 4000, historyLength: 50 }
  expect(newClient().limits.get()).toEqual(limits)
  expect((await member("Ann", roomId)).limits.get()).toEqual(limits)
})

test("the version of the protocol comes with the first message", async ({ newClient }) => {
  const ann = newClient()
  const versions: unknown[] = []
  ann.on("message", ({ message }) => {
    if (message.type === "Welcome") versions.push(message.payload.protocol)
  })
  ann.connect()
  await vi.waitUntil(() => versions.length > 0)
  expect(versions).toEqual([1])
})

test("a text that is much too long fails at once, and the messages around it are stored", async ({
  member,
  roomId,
}) => {
  const ann = await member("Ann", roomId)
  const closes: number[] = []
  ann.on("close", ({ code }) => closes.push(code))
  ann.sendChat("before")
  const pasted = ann.sendChat("x".repeat(70_000))
  const failed = { id: pasted.id, state: "failed", error: { code: "chat_too_long" } }
  expect(ann.messages.get().at(-1)).toMatchObject(failed)
  await expect(pasted).rejects.toMatchObject({ code: "chat_too_long" })
  await ann.sendChat("after")
  expect(contents(ann)).toEqual(["before", "after", "x".repeat(70_000)])
  expect(closes).toEqual([])
})

test("characters are counted as the server counts them", async ({ member, roomId }) => {
  const ann = await member("Ann", roomId)
  await expect(ann.sendChat("😀".repeat(4000))).resolves.toMatchObject({ state: "sent" })
  await expect(ann.sendChat("😀".repeat(4001))).rejects.toMatchObject({ code: "chat_too_long" })
})

test("a text that was written offline fails when the limits are known", async ({ newClient, roomId }) => {
  const ann = newClient()
  void ann.join(roomId)
  const [long, short] = [ann.sendChat("x".repeat(70_000)), ann.sendChat("short")]
  ann.connect()
  await expect(long).rejects.toMatchObject({ code: "chat_too_long" })
  await expect(short).resolves.toMatchObject({ content: "short", state: "sent" })
})

test("any other message over the limit is not sent, and the developer reads why once", async ({
  member,
  roomId,
}) => {
  const console_ = vi.spyOn(console, "error").mockImplementation(() => {})
  onTestFinished(() => console_.mockRestore())
  const ann = await member("Ann", roomId)
  const message = { type: "CursorMove", payload: { x: 0, y: 0, element_id: "é".repeat(33_000) } } as const
  expect([ann.send(message), ann.send(message)]).toEqual([false, false])
  expect(console_).toHaveBeenCalledTimes(1)
  ann.sendChat("still connected")
  await sent(ann, 1)
  expect(await until(ann.connection, () => true)).toMatchObject({ status: "open" })
})
