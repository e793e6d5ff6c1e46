// @vitest-environment jsdom
/** The hooks for events and custom presence, in strict mode, against the stack. */

import { expect, vi } from "vitest"
import { WebSocket } from "ws"
import type { Client, Member, PresenceChange } from "../../src/index.js"
import {
  StudyroomProvider,
  useBroadcast,
  useEvent,
  useMyPresence,
  useOthers,
  useRoom,
  useStudyroom,
} from "../../src/react/index.js"
import { DEADLINE_MS, test, until } from "../support/fixture.js"
import { render } from "../support/render.js"

const soon = <T,>(check: () => T) => vi.waitFor(check, { timeout: DEADLINE_MS, interval: 10 })

interface Seen {
  events: unknown[]
  /** The result of the selector at each render. */
  hands: (readonly string[])[]
  broadcast?: Client["broadcast"]
  update?: (change: PresenceChange) => void
}

const raised = (others: readonly Member[]) =>
  others.filter(({ presence }) => presence.hand).map(({ username }) => username)

function Room({ roomId, seen }: { roomId: string; seen: Seen }) {
  const { status } = useRoom(roomId)
  useEvent("reaction", ({ data }) => seen.events.push(data))
  const [mine, update] = useMyPresence()
  const hands = useOthers(raised)
  seen.broadcast = useBroadcast()
  seen.update = update
  seen.hands.push(hands)
  return <p>{[status, useOthers().length, ...hands, JSON.stringify(mine)].join(" ")}</p>
}

function Page({ url, roomId, seen }: { url: string; roomId: string; seen: Seen }) {
  return (
    <StudyroomProvider client={useStudyroom({ url, username: "Page", WebSocket })}>
      <Room roomId={roomId} seen={seen} />
    </StudyroomProvider>
  )
}

test("the hooks send and receive events and presence", async ({ balancer, member, roomId }) => {
  const ann = await member("Ann", roomId)
  const atAnn: unknown[] = []
  const seen: Seen = { events: [], hands: [] }
  ann.on("broadcast", ({ event, data }) => atAnn.push([event, data]))
  const page = render(<Page url={balancer.url} roomId={roomId} seen={seen} />)
  await soon(() => expect(page.text()).toBe("joined 1 {}"))
  await until(ann.others, (others) => others.length === 1)
  ann.broadcast("other", 0)
  ann.broadcast("reaction", 1)
  await soon(() => expect(seen.events).toEqual([1]))
  seen.broadcast?.("hello", [2])
  await soon(() => expect(atAnn).toEqual([["hello", [2]]]))
  seen.update?.({ status: "here" })
  await soon(() => expect(page.text()).toBe('joined 1 {"status":"here"}'))
  await until(ann.others, ([other]) => other?.presence.status === "here")
  ann.updatePresence({ hand: true })
  await soon(() => expect(page.text()).toBe('joined 1 Ann {"status":"here"}'))
  const before = seen.hands.at(-1)
  ann.updatePresence({ color: "red" })
  await until(ann.self, (self) => self?.presence.color === "red")
  ann.broadcast("reaction", 2)
  await soon(() => expect(seen.events).toEqual([1, 2]))
  expect(seen.hands.at(-1)).toBe(before)
  page.unmount()
})
