/** Who connects, and as whom. */

import { expect } from "vitest"
import type { IdentityStore } from "../../src/index.js"
import { contents, sent, test, until } from "../support/fixture.js"
import { token } from "../support/token.js"

function keeping(kept: string | null): IdentityStore {
  return {
    get: () => kept,
    set: (token) => {
      kept = token
    },
  }
}

const isOpen = ({ status }: { status: string }) => status === "open"

test("the token is asked for before every connection, and the user stays the same", async ({
  balancer,
  member,
  roomId,
}) => {
  let asked = 0
  const ann = await member("", roomId, {
    token: async () => {
      asked += 1
      return token("ann", "Ann")
    },
  })
  const before = ann.self.get()
  expect(before).toMatchObject({ username: "Ann" })
  balancer.cut()
  balancer.mend()
  await until(ann.connection, (state) => state.status === "waiting")
  await until(ann.room, ({ status }) => status === "joined")
  expect(ann.self.get()).toBe(before)
  expect(asked).toBeGreaterThanOrEqual(2)
})

test("a token that has expired is replaced by the next one", async ({ newClient }) => {
  const tokens = [token("ann", "Ann", -60), token("ann", "Ann")]
  const client = newClient({ token: () => tokens.shift() })
  client.connect()
  await until(client.connection, isOpen)
  expect(tokens).toEqual([])
})

test("a token that expires while one is in a room is replaced, and nothing is missed", async ({
  member,
  roomId,
}) => {
  const lifetimes = [3, 60]
  const ann = await member("", roomId, { token: () => token("ann", "Ann", lifetimes.shift()) })
  const bob = await member("Bob", roomId)
  const closes: number[] = []
  ann.on("close", ({ code }) => {
    closes.push(code)
    bob.sendChat("while Ann was away")
  })
  await until(ann.connection, ({ status }) => status === "waiting")
  await sent(ann, 1)
  expect(contents(ann)).toEqual(["while Ann was away"])
  expect(closes).toEqual([4002])
  expect(lifetimes).toEqual([])
})

test("a callback that fails is a failed attempt, and is asked again", async ({ newClient }) => {
  let asked = 0
  const client = newClient({
    token: () => {
      asked += 1
      if (asked < 3) throw new Error("the session service is away")
      return token("ann", "Ann")
    },
  })
  const reasons: string[] = []
  client.on("close", ({ reason }) => reasons.push(reason))
  client.connect()
  await until(client.connection, isOpen)
  expect(reasons).toEqual(Array(2).fill("Error: the session service is away"))
})

test("a guest that comes back is the same user", async ({ balancer, member, roomId }) => {
  const ann = await member("Ann", roomId)
  const before = ann.self.get()
  balancer.cut()
  await until(ann.connection, (state) => state.status === "waiting")
  balancer.mend()
  await until(ann.room, ({ status }) => status === "joined")
  expect(ann.self.get()).toBe(before)
})

test("a guest is the same user after a reload, where the identity is kept", async ({ member, roomId }) => {
  const identity = keeping(null)
  const ann = await member("Ann", roomId, { identity })
  ann.close()
  const reloaded = await member("Ann", roomId, { identity })
  expect(reloaded.self.get()).toEqual(ann.self.get())
})

test("a guest whose identity the server does not know gets another one", async ({ member, roomId }) => {
  const identity = keeping("of a server that is gone")
  await member("Ann", roomId, { identity })
  expect(identity.get()).not.toBe("of a server that is gone")
})

test("where nothing may be stored a guest is the same user for as long as the client is there", async ({
  balancer,
  member,
  roomId,
}) => {
  const forbidden = () => {
    throw new Error("storage is forbidden here")
  }
  const ann = await member("Ann", roomId, { identity: { get: forbidden, set: forbidden } })
  const before = ann.self.get()
  balancer.cut()
  await until(ann.connection, (state) => state.status === "waiting")
  balancer.mend()
  await until(ann.room, ({ status }) => status === "joined")
  expect(ann.self.get()).toBe(before)
})
