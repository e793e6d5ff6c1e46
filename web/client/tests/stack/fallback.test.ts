/** Networks that block WebSockets. */

import { expect } from "vitest"
import { WebSocket } from "ws"
import { withFallback } from "../../src/fallback/index.js"
import type { ClientOptions, StudyroomClient } from "../../src/index.js"
import type { Balancer } from "../support/balancer.js"
import { contents, sent, test, until } from "../support/fixture.js"

const seen = (client: StudyroomClient, count: number) =>
  until(client.others, ({ length }) => length === count)

test.for(["refuse", "kill"] as const)(
  "where a network does this to WebSockets, the same rooms work over HTTP: %s",
  async (webSockets, { balancer, member, roomId }) => {
    const bob = await member("Bob", roomId)
    balancer.webSockets = webSockets
    const ann = await member("Ann", roomId, { WebSocket: withFallback({ WebSocket }) })
    await seen(bob, 1)
    for (let number = 0; number < 10; number += 1) {
      ann.sendChat(`ann ${number}`)
      bob.sendChat(`bob ${number}`)
    }
    await sent(ann, 20)
    await sent(bob, 20)
    expect(contents(ann)).toEqual(contents(bob))
    ann.moveCursor(7, 8)
    await until(bob.cursors, (cursors) => [...cursors.values()].some(({ x }) => x === 7))
    ann.close()
    await seen(bob, 0)
  },
)

test("a lost connection over HTTP resumes, and what was written meanwhile arrives once", async ({
  balancer,
  member,
  roomId,
}) => {
  balancer.webSockets = "refuse"
  const bob = await member("Bob", roomId, { WebSocket: withFallback({ WebSocket }) })
  const ann = await member("Ann", roomId, { WebSocket: withFallback({ WebSocket }) })
  balancer.cut()
  await until(ann.connection, ({ status }) => status !== "open")
  ann.sendChat("written offline")
  balancer.heal()
  await until(bob.connection, ({ status }) => status === "open")
  bob.sendChat("from Bob")
  await sent(ann, 2)
  await sent(bob, 2)
  expect(contents(ann)).toEqual(contents(bob))
})

interface Given {
  balancer: Balancer
  member: (username: string, roomId: string, options?: Partial<ClientOptions>) => Promise<StudyroomClient>
  roomId: string
}

/** Bob is in the room over a WebSocket, and Ann over HTTP. */
async function overBoth({ balancer, member, roomId }: Given, retryMs?: number) {
  const bob = await member("Bob", roomId)
  balancer.webSockets = "refuse"
  const options = retryMs === undefined ? {} : { retryMs }
  const ann = await member("Ann", roomId, { WebSocket: withFallback({ WebSocket, ...options }) })
  await seen(bob, 1)
  return { ann, bob }
}

test("a client goes back to a WebSocket when one gets through, and nobody sees it leave", async ({
  balancer,
  member,
  roomId,
}) => {
  const { ann, bob } = await overBoth({ balancer, member, roomId }, 1000)
  const changes: string[] = []
  bob.on("message", ({ message }) => {
    if (/^User(Joined|Left)$/.test(message.type)) changes.push(message.type)
  })
  const before = ann.connection.get()
  balancer.webSockets = "pass"
  const after = await until(ann.connection, (state) => state.status === "open" && state !== before)
  expect(after).not.toMatchObject({ connectionId: (before as { connectionId: string }).connectionId })
  ann.sendChat("still here")
  await sent(bob, 1)
  expect(changes).toEqual([])
})

test("messages that a balancer sends to a gateway that stands still are sent again", async ({
  balancer,
  member,
  roomId,
}) => {
  balancer.postsToHang = 1
  const { ann, bob } = await overBoth({ balancer, member, roomId })
  expect(balancer.postsToHang).toBe(0)
  ann.sendChat("not lost")
  await sent(bob, 1)
})
