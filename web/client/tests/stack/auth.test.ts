/** A newer token before the present one expires, and where tokens are. */

import { expect, onTestFinished, vi } from "vitest"
import { WebSocket } from "ws"
import { renewToken } from "../../src/auth/index.js"
import { withFallback } from "../../src/fallback/index.js"
import type { WebSocketConstructor } from "../../src/index.js"
import { shareConnection } from "../../src/rooms/index.js"
import { sent, test } from "../support/fixture.js"
import { token } from "../support/token.js"

const FIRST_SECONDS = 16

test("a connection outlives its token, also when a newer one cannot be fetched at once", async ({
  newClient,
  roomId,
}) => {
  let calls = 0
  const fetched = () => {
    calls += 1
    if (calls === 2) throw new Error("the issuer is away")
    return token("ann", "Ann", calls === 1 ? FIRST_SECONDS : 60)
  }
  const ann = newClient({ token: fetched })
  const stop = renewToken(ann, fetched)
  const states: string[] = []
  ann.connect()
  await ann.join(roomId)
  const expiresAt = Date.now() + FIRST_SECONDS * 1000
  ann.connection.subscribe(() => states.push(ann.connection.get().status))
  await expect.poll(() => Date.now() - expiresAt, { timeout: 30_000 }).toBeGreaterThan(1500)
  ann.sendChat("after the first token")
  await sent(ann, 1)
  expect(states).toEqual([])
  expect(calls).toBe(3)
  stop()
})

const USERS = {
  "an access token": { token: token("ann", "Ann") },
  "the token of a guest": { username: "Ann" },
}

test.for(Object.keys(USERS) as (keyof typeof USERS)[])(
  "%s is in no address of a WebSocket or a request, and the user is the same in all of them",
  async (kind, { balancer, member, roomId }) => {
    let kept: string | null = null
    const identity = {
      get: () => kept,
      set: (token: string | null) => {
        kept = token
      },
    }
    const user = { ...USERS[kind], identity }
    const asked: string[] = []
    const ask = fetch
    vi.spyOn(globalThis, "fetch").mockImplementation((url, options) => {
      asked.push(String(url))
      return ask(url, options)
    })
    onTestFinished(() => void vi.restoreAllMocks())
    const WebSockets = [WebSocket, shareConnection({ WebSocket: withFallback({ WebSocket }) })]
    const ids = new Set<string | undefined>()
    for (const Socket of WebSockets) {
      const ann = await member("", roomId, { WebSocket: Socket as WebSocketConstructor, ...user })
      expect(ann.self.get()?.username).toBe("Ann")
      ids.add(ann.self.get()?.userId)
      expect(await ann.getRoster()).toEqual([ann.self.get()])
      ann.close()
    }
    balancer.webSockets = "refuse"
    const overHttp = await member("", roomId, { WebSocket: withFallback({ WebSocket }), ...user })
    ids.add(overHttp.self.get()?.userId)
    expect(ids.size).toBe(1)
    for (const path of ["/roster", "/api/v1/stream", "/api/v1/handshake"])
      expect(asked.filter((url) => url.includes(path))).not.toEqual([])
    expect([...asked, ...balancer.requests].filter((address) => address.includes("token"))).toEqual([])
  },
)

test("a client for proxies that remove headers has its token in addresses", async ({
  balancer,
  member,
  roomId,
}) => {
  const user = { token: token("ann", "Ann"), tokenInAddress: true }
  const ann = await member("", roomId, { WebSocket: WebSocket as WebSocketConstructor, ...user })
  expect(await ann.getRoster()).toEqual([ann.self.get()])
  expect(balancer.requests.every((line) => line.includes("access_token="))).toBe(true)
})
