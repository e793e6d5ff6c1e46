// @vitest-environment jsdom
/** `useWebSocket` in components that use nothing else of this package. */

import { useEffect } from "react"
import { expect, vi } from "vitest"
import { type LastMessage, type UseWebSocket, useWebSocket } from "../../src/react/index.js"
import { DEADLINE_MS, sent, test } from "../support/fixture.js"
import { render } from "../support/render.js"

const soon = <T,>(check: () => T) => vi.waitFor(check, { timeout: DEADLINE_MS, interval: 10 })

interface Watch {
  newest: UseWebSocket<LastMessage> | null
  seen: LastMessage[]
}

function Watched({ url, watch }: { url: string; watch: Watch }) {
  const hook = useWebSocket<LastMessage>(url)
  const { lastMessage } = hook
  useEffect(() => {
    watch.newest = hook
    if (lastMessage !== null && watch.seen.at(-1) !== lastMessage) watch.seen.push(lastMessage)
  })
  return null
}

/** The hook in a component that keeps every message that its effect sees. */
async function mount(
  url: string,
): Promise<{ hook: () => UseWebSocket<LastMessage>; seen: LastMessage[]; chats: () => string[] }> {
  const watch: Watch = { newest: null, seen: [] }
  const { seen } = watch
  render(<Watched url={url} watch={watch} />)
  await soon(() => expect(watch.newest).not.toBeNull())
  const hook = () => {
    if (watch.newest === null) throw new Error("not rendered")
    return watch.newest
  }
  const chats = () => seen.flatMap((message) => (message.type === "Chat" ? [message.payload.content] : []))
  return { hook, seen, chats }
}

test("it connects, joins, sends and receives", async ({ balancer, member, roomId }) => {
  const ann = await member("Ann", roomId)
  const { hook, seen, chats } = await mount(balancer.url)
  await soon(() => expect(hook().isConnected).toBe(true))
  hook().joinRoom(roomId)
  await soon(() => expect(seen.at(-1)?.type).toBe("JoinedRoom"))
  hook().sendChat("from the hook")
  await soon(() => expect(chats()).toEqual(["from the hook"]))
  ann.sendChat("from Ann")
  await soon(() => expect(chats()).toEqual(["from the hook", "from Ann"]))
  hook().send("CursorMove", { x: 1, y: 2 })
  hook().send("Ping")
  await soon(() => expect(seen.at(-1)?.type).toBe("Pong"))
  expect(seen[0]?.type).toBe("Welcome")
})

test("an effect on the last message sees every message, also of those that come together", async ({
  balancer,
  member,
  roomId,
}) => {
  const ann = await member("Ann", roomId)
  const written = Array.from({ length: 40 }, (_, number) => `message ${number}`)
  for (const content of written) ann.sendChat(content)
  await sent(ann, written.length)
  const { hook, chats } = await mount(balancer.url)
  hook().joinRoom(roomId)
  await soon(() => expect(chats()).toEqual(written))
})

test("it comes back into its room, and delivers missed messages and nothing twice", async ({
  balancer,
  member,
  roomId,
}) => {
  const ann = await member("Ann", roomId)
  const { hook, seen, chats } = await mount(balancer.url)
  hook().send("JoinRoom", { room_id: roomId })
  await soon(() => expect(seen.at(-1)?.type).toBe("JoinedRoom"))
  ann.sendChat("before")
  await soon(() => expect(chats()).toEqual(["before"]))
  balancer.cut()
  await soon(() => expect(hook().isConnected).toBe(false))
  ann.sendChat("meanwhile")
  hook().sendChat("from the hook")
  balancer.heal()
  await soon(() => expect(chats().sort()).toEqual(["before", "from the hook", "meanwhile"]))
  expect(hook().isConnected).toBe(true)
})

test("a refusal of the server is delivered as a message", async ({ balancer }) => {
  const { hook, seen } = await mount(balancer.url)
  await soon(() => expect(hook().isConnected).toBe(true))
  hook().sendChat("in no room")
  await soon(() => expect(seen.at(-1)).toMatchObject({ type: "Error", payload: { code: "not_in_room" } }))
})

test("a Ping that was sent offline is not answered by the Pong to the client's own Ping", async ({
  balancer,
  member,
  roomId,
}) => {
  const ann = await member("Ann", roomId)
  const { hook, seen, chats } = await mount(balancer.url)
  hook().joinRoom(roomId)
  await soon(() => expect(seen.at(-1)?.type).toBe("JoinedRoom"))
  balancer.cut()
  await soon(() => expect(hook().isConnected).toBe(false))
  hook().send("Ping")
  balancer.heal()
  await soon(() => expect(hook().isConnected).toBe(true))
  // The client checks its connection by a Ping of its own.
  document.dispatchEvent(new Event("visibilitychange"))
  await soon(() => expect(seen.at(-1)?.type).toBe("JoinedRoom"))
  ann.sendChat("after the Pong")
  await soon(() => expect(chats()).toEqual(["after the Pong"]))
  expect(seen.map(({ type }) => type)).not.toContain("Pong")
})

test("a text that is too long is answered like one that the server refuses, and the connection stays", async ({
  balancer,
  roomId,
}) => {
  const { hook, seen, chats } = await mount(balancer.url)
  hook().joinRoom(roomId)
  await soon(() => expect(seen.at(-1)?.type).toBe("JoinedRoom"))
  hook().sendChat("x".repeat(70_000))
  await soon(() => expect(seen.at(-1)).toMatchObject({ type: "Error", payload: { code: "chat_too_long" } }))
  hook().sendChat("short")
  await soon(() => expect(chats()).toEqual(["short"]))
})

test("its result stays the same for as long as the address does", async ({ balancer }) => {
  const { hook } = await mount(balancer.url)
  const before = hook()
  await soon(() => expect(hook().isConnected).toBe(true))
  expect([hook().send, hook().joinRoom, hook().sendChat]).toEqual([
    before.send,
    before.joinRoom,
    before.sendChat,
  ])
})
