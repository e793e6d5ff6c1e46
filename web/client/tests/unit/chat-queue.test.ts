import { expect, test, vi } from "vitest"
import { ChatQueue } from "../../src/core/chat-queue.js"
import { NEVER } from "../../src/core/never.js"
import type { ChatMessage } from "../../src/index.js"

const WINDOW_MS = 120_000
/** The last time at which the queue sends a message again that it first sent at 0. */
const LAST_MS = 110_000

function message(id: string): ChatMessage {
  return {
    id,
    userId: "me",
    username: "Me",
    content: id,
    timestamp: null,
    seq: null,
    own: true,
    state: "sending",
  }
}

// Waits have their full length.
vi.spyOn(Math, "random").mockReturnValue(1)

/** A queue with these messages, whose waits have their full length. */
function queueOf(...ids: string[]): ChatQueue {
  const queue = new ChatQueue()
  for (const id of ids) queue.add(message(id))
  return queue
}

function openQueueOf(...ids: string[]): ChatQueue {
  const queue = queueOf(...ids)
  queue.open(WINDOW_MS, "me")
  return queue
}

const unavailable = { code: "chat_unavailable" as const, message: "later" }
const states = (queue: ChatQueue) => queue.messages.map(({ id, state }) => `${id} ${state}`)

test("nothing is sent before the room is joined", () => {
  expect(queueOf("a").poll(0)).toEqual({ send: null, failed: [], wakeAt: NEVER })
})

test("a single message is under way at a time, and the next goes when it came back", () => {
  const queue = openQueueOf("a", "b")
  expect(queue.poll(0).send?.id).toBe("a")
  expect(queue.poll(1).send).toBeNull()
  queue.stored("a")
  expect(queue.poll(2).send?.id).toBe("b")
})

test("after a reconnect returned messages are dropped and the rest is sent in order", () => {
  const queue = openQueueOf("a", "b", "c")
  queue.poll(0)
  queue.hold()
  expect(queue.poll(1000).send).toBeNull()
  queue.stored("a")
  queue.open(WINDOW_MS, "me")
  expect(queue.poll(2000).send?.id).toBe("b")
})

test("a message whose outcome is unknown goes again with its id, before later ones", () => {
  const queue = openQueueOf("a", "b")
  queue.poll(0)
  expect(queue.refused("a", unavailable, 5000)).toBeNull()
  expect(queue.poll(5000)).toEqual({ send: null, failed: [], wakeAt: 5750 })
  expect(queue.poll(5750).send?.id).toBe("a")
})

test("a message for which the server has no room has failed at once, and may be retried with its id", () => {
  const queue = openQueueOf("a", "b")
  queue.poll(0)
  const full = { code: "chat_storage_full" as const, message: "the storage of chat is full" }
  expect(queue.refused("a", full, 100)).toMatchObject({ id: "a", state: "failed", error: full })
  expect(queue.poll(100).send?.id).toBe("b")
  queue.stored("b")
  queue.retry("a", "another", 200)
  expect(queue.poll(200).send?.id).toBe("a")
})

test("the wait grows while the server keeps refusing, and is short again after a message was stored", () => {
  const queue = openQueueOf("a", "b")
  const wait = (id: string, at: number) => {
    queue.poll(at)
    queue.refused(id, unavailable, at)
    return queue.poll(at).wakeAt - at
  }
  expect([0, 1000, 3000, 10_000].map((at) => wait("a", at))).toEqual([750, 1250, 2250, 4250])
  expect(wait("a", 15_000)).toBe(4250) // never longer, because chat goes on soon after the server can store again
  queue.poll(20_000)
  queue.stored("a")
  expect(wait("b", 20_000)).toBe(750)
})

test("a message without an answer goes again", () => {
  const queue = openQueueOf("a")
  expect(queue.poll(0).wakeAt).toBe(10_000)
  expect(queue.poll(10_000)).toMatchObject({ send: null, wakeAt: 10_750 })
  expect(queue.poll(10_750).send?.id).toBe("a")
})

test("a message that the server may have forgotten has failed and is never sent again by itself", () => {
  const queue = openQueueOf("a", "b")
  queue.poll(0)
  queue.hold()
  expect(queue.poll(1).wakeAt).toBe(LAST_MS)
  expect(queue.poll(LAST_MS).failed).toMatchObject([{ id: "a", state: "failed", error: { code: "expired" } }])
  queue.open(WINDOW_MS, "me")
  expect(queue.poll(LAST_MS).send?.id).toBe("b")
})

test("a message that was never sent does not expire", () => {
  const queue = queueOf("a")
  expect(queue.poll(10 * WINDOW_MS).failed).toEqual([])
  queue.open(WINDOW_MS, "me")
  expect(queue.poll(10 * WINDOW_MS).send?.id).toBe("a")
})

test("a message that is awaited does not expire before its answer is", () => {
  const queue = openQueueOf("a")
  queue.poll(0)
  queue.hold()
  queue.open(WINDOW_MS, "me")
  expect(queue.poll(LAST_MS - 1).send?.id).toBe("a")
  expect(queue.poll(LAST_MS + 1).failed).toEqual([])
  queue.refused("a", unavailable, LAST_MS + 2)
  expect(queue.poll(LAST_MS + 2).failed).toMatchObject([{ id: "a" }])
})

test("a server that does not report how long it knows ids gets nothing twice", () => {
  const queue = queueOf("a")
  queue.open(0, "me")
  queue.poll(0)
  queue.hold()
  queue.open(0, "me")
  expect(queue.poll(1)).toMatchObject({ send: null, failed: [{ id: "a" }] })
})

test("a client that comes back as another user sends nothing twice, since the server knows ids by their user", () => {
  const queue = openQueueOf("a", "b")
  queue.poll(0)
  queue.hold()
  queue.open(WINDOW_MS, "another")
  expect(queue.poll(1)).toMatchObject({
    send: { id: "b" },
    failed: [{ id: "a", error: { code: "expired" } }],
  })
})

test.each(["chat_empty", "chat_too_long", "invalid_message"] as const)("%s is for good", (code) => {
  const queue = openQueueOf("a", "b")
  queue.poll(0)
  expect(queue.refused("a", { code, message: "no" }, 1)).toMatchObject({ state: "failed", error: { code } })
  expect(queue.poll(1).send?.id).toBe("b")
})

test.each(["rate_limited", "busy", "not_in_room", "internal"] as const)("%s means later", (code) => {
  const queue = openQueueOf("a")
  queue.poll(0)
  expect(queue.refused("a", { code, message: "later" }, 1)).toBeNull()
  expect(states(queue)).toEqual(["a sending"])
})

test("a failed message that turns up stored is no longer a failure", () => {
  const queue = openQueueOf("a")
  queue.poll(0)
  queue.hold()
  queue.poll(LAST_MS)
  queue.stored("a")
  expect(queue.messages).toEqual([])
})

test("a failed message is retried under its id while the server knows it, and as the last", () => {
  const queue = openQueueOf("a", "b")
  queue.poll(0)
  queue.refused("a", { code: "chat_too_long", message: "no" }, 1)
  queue.retry("a", "new", 2)
  expect(states(queue)).toEqual(["b sending", "a sending"])
  expect(queue.messages[1]).not.toHaveProperty("error")
})

test("a failed message is retried under another id when the server does not know the first any more", () => {
  const queue = openQueueOf("a")
  queue.poll(0)
  queue.hold()
  queue.poll(LAST_MS)
  queue.retry("a", "new", LAST_MS)
  queue.open(WINDOW_MS, "me")
  expect(queue.poll(LAST_MS).send?.id).toBe("new")
})

test("only failed messages can be discarded", () => {
  const queue = openQueueOf("a", "b")
  queue.poll(0)
  queue.refused("a", { code: "chat_too_long", message: "no" }, 1)
  queue.discard("a")
  queue.discard("b")
  expect(states(queue)).toEqual(["b sending"])
})

test("an answer to a message that was sent again may be out of order", () => {
  const queue = openQueueOf("a", "b")
  queue.poll(0)
  queue.refused("a", unavailable, 0)
  queue.poll(1000)
  expect(queue.stored("a")).toBe(true)
  queue.poll(1000)
  expect(queue.stored("b")).toBe(false)
})

test("a refusal that names no message fails the one under way, and the next one is sent", () => {
  const queue = openQueueOf("a", "b")
  expect(queue.poll(0).send?.id).toBe("a")
  expect(queue.refusedUnderWay({ code: "invalid_message", message: "no" }, 1)).toMatchObject({
    id: "a",
    state: "failed",
    error: { code: "invalid_message" },
  })
  expect(queue.poll(1).send?.id).toBe("b")
})

test("a refusal that names no message and may pass does not end the wait for the answer", () => {
  const queue = openQueueOf("a")
  queue.poll(0)
  expect(queue.refusedUnderWay({ code: "rate_limited", message: "later" }, 1)).toBeNull()
  expect(states(queue)).toEqual(["a sending"])
  queue.stored("a")
  expect(queue.refusedUnderWay({ code: "invalid_message", message: "no" }, 2)).toBeNull()
})

test("what the server would not take is never sent, also if it was written before its limits were known", () => {
  const excess = { code: "chat_too_long" as const, message: "too long" }
  const queue = queueOf("long", "short")
  queue.limit(({ id }) => (id.startsWith("long") ? excess : null))
  queue.add(message("longer"))
  queue.open(WINDOW_MS, "me")
  const step = queue.poll(0)
  expect(step.failed).toMatchObject([
    { id: "long", error: excess },
    { id: "longer", error: excess },
  ])
  expect(step.send?.id).toBe("short")
  expect(queue.retry("long", "another id", 1)).toBe("long")
  expect(queue.poll(1).failed).toMatchObject([{ id: "long" }])
})
