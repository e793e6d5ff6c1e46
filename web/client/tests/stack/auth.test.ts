/** A newer token before the present one expires, and tokens that are in no address. */

import { expect } from "vitest"
import { WebSocket } from "ws"
import { renewToken, tokenAsSubprotocol } from "../../src/auth/index.js"
import { withFallback } from "../../src/fallback/index.js"
import { shareConnection } from "../../src/rooms/index.js"
import { contents, sent, test, until } from "../support/fixture.js"
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

test("a token as a subprotocol is in no address of a WebSocket, beneath a shared connection too", async ({
  balancer,
  member,
  roomId,
}) => {
  const WebSockets = [
    tokenAsSubprotocol(WebSocket as never),
    shareConnection({ WebSocket: withFallback({ WebSocket: tokenAsSubprotocol(WebSocket as never) }) }),
  ]
  for (const [index, Socket] of WebSockets.entries()) {
    const ann = await member("", roomId, { WebSocket: Socket, token: token("ann", "Ann") })
    expect(ann.self.get()?.username).toBe("Ann")
    ann.sendChat(`hello ${index}`)
    await until(ann.messages, () => contents(ann).includes(`hello ${index}`))
  }
  const addresses = balancer.requests.filter((line) => line.includes("/ws"))
  expect(addresses.length).toBe(2)
  expect(addresses.filter((line) => line.includes("access_token"))).toEqual([])
})
