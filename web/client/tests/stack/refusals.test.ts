/** Handshakes that the server refuses. */

import { expect } from "vitest"
import { test, until } from "../support/fixture.js"
import { API_KEY } from "../support/stack.js"
import { token } from "../support/token.js"

const isClosed = ({ status }: { status: string }) => status === "closed"

test("a token that is not valid ends with its reason, and is not tried for ever", async ({
  balancer,
  newClient,
  roomId,
}) => {
  const client = newClient({ token: "nonsense" })
  const joining = client.join(roomId)
  client.connect()
  const state = await until(client.connection, isClosed)
  expect(state).toMatchObject({ code: 1006, cause: { code: "unauthorized" } })
  await expect(joining).rejects.toMatchObject({ code: "closed" })
  const before = balancer.requests.length
  client.close()
  expect(balancer.requests.length).toBe(before)
})

test("a function is asked for another token before the client stops", async ({ newClient }) => {
  let asked = 0
  const client = newClient({
    token: () => {
      asked += 1
      return token("ann", "Ann", -60)
    },
  })
  client.connect()
  expect(await until(client.connection, isClosed)).toMatchObject({ cause: { code: "unauthorized" } })
  expect(asked).toBeGreaterThanOrEqual(3)
})

test("a banned user stops with that reason, and connects again when the ban is over", async ({
  balancer,
  gateways,
  member,
  roomId,
}) => {
  const ask = async (method: string, path: string, body?: object) => {
    const headers = { authorization: `Bearer ${API_KEY}`, "content-type": "application/json" }
    const address = new URL(`/api/v1${path}`, gateways()[0]?.url)
    expect((await fetch(address, { method, headers, body: JSON.stringify(body) })).ok).toBe(true)
  }
  const ann = await member("", roomId, { token: () => token("ann to be banned", "Ann") })
  const { userId } = ann.self.get() ?? { userId: "" }
  balancer.cut()
  await until(ann.connection, ({ status }) => status === "waiting")
  await ask("PUT", `/bans/${userId}`, { seconds: 60 })
  balancer.heal()
  expect(await until(ann.connection, isClosed)).toMatchObject({ cause: { code: "banned" } })
  await ask("DELETE", `/bans/${userId}`)
  ann.connect()
  await until(ann.room, ({ status }) => status === "joined")
})

test("clients that come back at once after a loss do not ask why they were lost", async ({
  balancer,
  member,
  roomId,
}) => {
  const ann = await member("Ann", roomId)
  balancer.cut()
  balancer.heal()
  await until(ann.connection, ({ status }) => status === "waiting")
  await until(ann.room, ({ status }) => status === "joined")
  expect(balancer.requests.filter((line) => line.includes("/api/"))).toEqual([])
})

test("a lost network is not a refusal", async ({ balancer, member, roomId }) => {
  const ann = await member("Ann", roomId)
  balancer.cut()
  const waiting = await until(ann.connection, (state) => state.status === "waiting" && state.attempt >= 3)
  expect(waiting).toMatchObject({ cause: { code: "connection_lost" } })
  balancer.heal()
  await until(ann.room, ({ status }) => status === "joined")
})
