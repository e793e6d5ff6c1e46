/** Edits, deletions, reactions, replies and read marks, through both gateways and a lost one. */

import { expect } from "vitest"
import type { StudyroomClient } from "../../src/index.js"
import { type LivingChat, type LivingMessage, livingChat } from "../../src/living-chat.js"
import { sent, test, until } from "../support/fixture.js"
import { token } from "../support/token.js"

const textOf = (chat: LivingChat) => chat.messages.get().map(({ content }) => content)

function first(chat: LivingChat, holds: (message: LivingMessage) => boolean): Promise<LivingMessage> {
  return until(chat.messages, ([message]) => message !== undefined && holds(message)).then(
    ([message]) => message as LivingMessage,
  )
}

async function pair(member: (name: string, room: string) => Promise<StudyroomClient>, roomId: string) {
  const [ann, bob] = [await member("Ann", roomId), await member("Bob", roomId)]
  return { ann, bob, anns: livingChat(ann), bobs: livingChat(bob) }
}

test("everyone sees an edit, and newcomers see nothing else", async ({ member, roomId }) => {
  const { ann, bob, anns, bobs } = await pair(member, roomId)
  const message = await ann.sendChat("befor")
  await sent(bob, 1)
  await anns.edit(message, "before", [bob.self.get()?.userId ?? ""])
  for (const chat of [anns, bobs]) {
    const shown = await first(chat, ({ editedAt }) => editedAt !== null)
    expect(shown).toMatchObject({ content: "before", mentioned: [bob.self.get()?.userId] })
  }
  const eve = livingChat(await member("Eve", roomId))
  expect(await first(eve, () => true)).toMatchObject({ content: "before", username: "Ann" })
})

test("reactions are counted for everyone and can be taken back", async ({ member, roomId }) => {
  const { ann, bob, anns, bobs } = await pair(member, roomId)
  const message = await ann.sendChat("nice")
  await sent(bob, 1)
  await Promise.all([anns.react(message, "+"), bobs.react(message, "+"), bobs.react(message, "-")])
  await first(anns, ({ reacted }) => reacted.length === 2)
  await bobs.react(message, "-", false)
  for (const chat of [anns, bobs]) {
    const { reacted } = await first(chat, ({ reacted }) => reacted.length === 1 && reacted[0]?.count === 2)
    expect(reacted).toMatchObject([{ reaction: "+", own: true }])
  }
})

test("an author deletes its message, and nobody else can", async ({ member, roomId }) => {
  const { ann, bob, anns, bobs } = await pair(member, roomId)
  const message = await ann.sendChat("mine")
  await sent(bob, 1)
  await expect(bobs.remove(message)).rejects.toMatchObject({ code: "not_author" })
  await expect(bobs.edit(message, "stolen")).rejects.toMatchObject({ code: "not_author" })
  await anns.remove(message)
  await until(bob.messages, (messages) => messages.length === 0)
  await anns.remove(message)
  await expect(anns.edit(message, "again")).rejects.toMatchObject({ code: "chat_not_found" })
  expect([textOf(anns), textOf(bobs)]).toEqual([[], []])
})

test("a reply names the message, and mentions come back", async ({ member, roomId }) => {
  const { ann, bob, bobs, anns } = await pair(member, roomId)
  const question = await ann.sendChat("who?")
  await sent(bob, 1)
  await bobs.reply(question, "me", [question.userId])
  const messages = await until(anns.messages, ({ length }) => length === 2)
  expect(messages[1]).toMatchObject({ replyTo: question.id, mentioned: [question.userId], content: "me" })
})

test("a change that is made offline is sent after the reconnect, and is there once", async ({
  balancer,
  member,
  newClient,
  roomId,
}) => {
  const ann = await member("", roomId, { token: token("ann", "Ann") })
  const bob = await member("", roomId, { token: token("bob", "Bob") })
  const [anns, bobs] = [livingChat(ann), livingChat(bob)]
  const message = await ann.sendChat("one")
  await sent(bob, 1)
  balancer.cut()
  await until(ann.connection, ({ status }) => status !== "open")
  const stored = anns.edit(message, "two")
  balancer.heal()
  await stored
  for (const chat of [anns, bobs])
    expect((await first(chat, ({ editedAt }) => editedAt !== null)).content).toBe("two")
  const eve = newClient()
  const edits: unknown[] = []
  eve.on("message", ({ message }) => message.type === "ChatEdited" && edits.push(message))
  eve.connect()
  await eve.join(roomId)
  expect(await first(livingChat(eve), () => true)).toMatchObject({ content: "two" })
  expect(edits).toEqual([])
})

test("a change fails when the user leaves the room, or is in none", async ({ member, newClient, roomId }) => {
  const target = { id: crypto.randomUUID(), seq: 1 }
  await expect(livingChat(newClient()).edit(target, "x")).rejects.toMatchObject({ code: "not_in_room" })
  const ann = await member("Ann", roomId)
  const outcome = livingChat(ann).edit(target, "x")
  ann.leave()
  await expect(outcome).rejects.toMatchObject({ code: "left" })
})

test("members see how far the others have read", async ({ member, roomId }) => {
  const { ann, bob, anns, bobs } = await pair(member, roomId)
  await ann.sendChat("one")
  const [one, two] = [await ann.sendChat("two"), await ann.sendChat("three")]
  await sent(bob, 3)
  bobs.markRead(one)
  await until(ann.others, () => anns.readBy(one).length === 1)
  expect(anns.readBy(two)).toEqual([])
  bobs.markRead(two)
  await until(ann.others, () => anns.readBy(two).length === 1)
  bobs.markRead(one)
  await bobs.react(one, "+")
  expect(anns.readBy(two)).toMatchObject([{ username: "Bob" }])
})
