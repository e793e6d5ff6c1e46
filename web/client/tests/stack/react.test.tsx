// @vitest-environment jsdom
/** The hooks in strict mode, in a page, against the stack. */

import { Profiler, type ReactNode } from "react"
import { expect, vi } from "vitest"
import { WebSocket } from "ws"
import {
  StudyroomProvider,
  useChat,
  useConnection,
  useCursor,
  useCursors,
  useOthers,
  useRoom,
  useSelf,
  useStudyroom,
  useStudyroomEvent,
  useTyping,
} from "../../src/react/index.js"
import { DEADLINE_MS, sent, test, until } from "../support/fixture.js"
import { render } from "../support/render.js"

const soon = <T,>(check: () => T) => vi.waitFor(check, { timeout: DEADLINE_MS, interval: 10 })

function Page({ url, children }: { url: string; children: ReactNode }) {
  return (
    <StudyroomProvider client={useStudyroom({ url, username: "Page", WebSocket })}>
      {children}
    </StudyroomProvider>
  )
}

function Joined({ roomId, children }: { roomId: string; children?: ReactNode }) {
  const room = useRoom(roomId)
  return <p>{[useConnection().status, room.status, useSelf()?.username, children]}</p>
}

function Using({ use }: { use: () => unknown }) {
  use()
  return null
}

function Listener({ name, received }: { name: string; received: string[] }) {
  useStudyroomEvent("chat", ({ message }) => received.push(`${name}: ${message.content}`))
  return null
}

test("in strict mode there is one connection and one join", async ({ balancer, member, roomId }) => {
  const ann = await member("Ann", roomId)
  const changes: string[] = []
  ann.on("userJoined", ({ member }) => changes.push(`+${member.username}`))
  ann.on("userLeft", ({ member }) => changes.push(`-${member.username}`))
  const before = balancer.arrivals.length
  const page = render(
    <Page url={balancer.url}>
      <Joined roomId={roomId} />
    </Page>,
  )
  await soon(() => expect(page.text()).toBe("openjoinedPage"))
  await until(ann.others, (others) => others.length === 1)
  page.unmount()
  await until(ann.others, (others) => others.length === 0)
  expect(changes).toEqual(["+Page", "-Page"])
  expect(balancer.arrivals.length).toBe(before + 1)
})

test("each hook renders again only for the values it reads", async ({ balancer, member, roomId }) => {
  const ann = await member("Ann", roomId)
  const annsId = ann.self.get()?.userId ?? ""
  const renders: Record<string, number> = {}
  const hooks: Record<string, () => unknown> = {
    others: useOthers,
    cursors: useCursors,
    cursorOfAnn: () => useCursor(annsId),
    cursorOfNobody: () => useCursor("nobody"),
    typing: useTyping,
    chat: useChat,
    self: useSelf,
    connection: useConnection,
  }
  const page = render(
    <Page url={balancer.url}>
      <Joined roomId={roomId} />
      {Object.entries(hooks).map(([id, use]) => (
        <Profiler key={id} id={id} onRender={() => (renders[id] = (renders[id] ?? 0) + 1)}>
          <Using use={use} />
        </Profiler>
      ))}
    </Page>,
  )
  await soon(() => expect(page.text()).toBe("openjoinedPage"))
  /** Returns the hooks that rendered after `what`. */
  const after = async (what: () => void, first: string) => {
    for (const id of Object.keys(renders)) delete renders[id]
    what()
    await soon(() => expect(renders).toHaveProperty(first))
    return Object.keys(renders).sort()
  }
  expect(await after(() => ann.moveCursor(1, 1), "cursors")).toEqual(["cursorOfAnn", "cursors"])
  expect(await after(() => ann.sendChat("hello"), "chat")).toEqual(["chat"])
  expect(await after(() => ann.setTyping(true), "typing")).toEqual(["typing"])
})

test("many components may be in one room, and the last that goes leaves it", async ({
  balancer,
  member,
  roomId,
}) => {
  const ann = await member("Ann", roomId)
  const [two, one, none] = [2, 1, 0].map((count) => (
    <Page key="page" url={balancer.url}>
      {Array.from({ length: count }, (_, index) => (
        <Joined key={String(index)} roomId={roomId} />
      ))}
    </Page>
  ))
  const page = render(two)
  await until(ann.others, (others) => others.length === 1)
  page.rerender(one)
  ann.sendChat("still here?")
  await soon(() => expect(page.text()).toBe("openjoinedPage"))
  expect(ann.others.get().length).toBe(1)
  page.rerender(none)
  await until(ann.others, (others) => others.length === 0)
})

test("another room in the place of the first is joined, and the first is left", async ({
  balancer,
  member,
  roomId,
}) => {
  const other = crypto.randomUUID()
  const [ann, bob] = [await member("Ann", roomId), await member("Bob", other)]
  const inRoom = (id: string) => (
    <Page url={balancer.url}>
      <Joined roomId={id} />
    </Page>
  )
  const page = render(inRoom(roomId))
  await until(ann.others, (others) => others.length === 1)
  page.rerender(inRoom(other))
  await until(ann.others, (others) => others.length === 0)
  await until(bob.others, (others) => others.length === 1)
  await soon(() => expect(page.text()).toBe("openjoinedPage"))
})

test("of two rooms the client is in the one that was named last, and goes back to the first", async ({
  balancer,
  member,
  roomId,
}) => {
  const other = crypto.randomUUID()
  const [ann, bob] = [await member("Ann", roomId), await member("Bob", other)]
  const inRooms = (...ids: string[]) => (
    <Page url={balancer.url}>
      {ids.map((id) => (
        <Joined key={id} roomId={id} />
      ))}
    </Page>
  )
  const page = render(inRooms(roomId, other))
  await soon(() => expect(page.text()).toBe("opennonePageopenjoinedPage"))
  await until(bob.others, (others) => others.length === 1)
  page.rerender(inRooms(roomId))
  await soon(() => expect(page.text()).toBe("openjoinedPage"))
  await until(ann.others, (others) => others.length === 1)
  page.rerender(inRooms())
  await until(ann.others, (others) => others.length === 0)
})

test("a component that goes does not end the room of another", async ({ balancer, member, roomId }) => {
  const other = crypto.randomUUID()
  const bob = await member("Bob", other)
  const inRooms = (...ids: string[]) => (
    <Page url={balancer.url}>
      {ids.map((id) => (
        <Joined key={id} roomId={id} />
      ))}
    </Page>
  )
  const page = render(inRooms(roomId, other))
  await until(bob.others, (others) => others.length === 1)
  const left: string[] = []
  bob.on("userLeft", ({ member }) => left.push(member.username))
  page.rerender(inRooms(other))
  await soon(() => expect(page.text()).toBe("openjoinedPage"))
  bob.sendChat("still here?")
  await sent(bob, 1)
  expect(left).toEqual([])
})

test("another address is another client", async ({ balancer, member, roomId }) => {
  const ann = await member("Ann", roomId)
  const at = (url: string) => (
    <Page url={url}>
      <Joined roomId={roomId} />
    </Page>
  )
  const page = render(at("ws://127.0.0.1:9/ws"))
  await soon(() => expect(page.text()).toBe("waitingjoining"))
  page.rerender(at(balancer.url))
  await until(ann.others, (others) => others.length === 1)
})

test("an event reaches the listener of the last render", async ({ balancer, member, roomId }) => {
  const ann = await member("Ann", roomId)
  const received: string[] = []
  const named = (name: string) => (
    <Page url={balancer.url}>
      <Joined roomId={roomId}>{name}</Joined>
      <Listener name={name} received={received} />
    </Page>
  )
  const page = render(named("first"))
  await soon(() => expect(page.text()).toContain("joined"))
  page.rerender(named("second"))
  await soon(() => expect(page.text()).toContain("second"))
  ann.sendChat("hello")
  await soon(() => expect(received).toEqual(["second: hello"]))
})
