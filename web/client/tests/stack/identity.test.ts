/** Who connects, and as whom. */

import { createHmac } from "node:crypto"
import { expect } from "vitest"
import type { IdentityStore } from "../../src/index.js"
import { test, until } from "../support/fixture.js"
import { JWT_SECRET } from "../support/stack.js"

function token(subject: string, name: string, lifetimeSeconds = 60): string {
  const encoded = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url")
  const claims = { sub: subject, name, exp: Math.floor(Date.now() / 1000) + lifetimeSeconds }
  const signed = `${encoded({ alg: "HS256", typ: "JWT" })}.${encoded(claims)}`
  return `${signed}.${createHmac("sha256", JWT_SECRET).update(signed).digest("base64url")}`
}

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

test("a guest's token that the server does not take is forgotten", async ({ newClient }) => {
  const identity = keeping("of a server that is gone")
  const client = newClient({ username: "Ann", identity })
  client.connect()
  await until(client.connection, isOpen)
  expect(identity.get()).not.toBe("of a server that is gone")
})

test("a guest's token is kept while the server cannot be reached", async ({ balancer, newClient }) => {
  const identity = keeping(token("ann", "Ann"))
  balancer.cut()
  const client = newClient({ identity })
  client.connect()
  await until(client.connection, (state) => state.status === "waiting" && state.attempt >= 4)
  balancer.mend()
  await until(client.connection, isOpen)
  expect(identity.get()).not.toBeNull()
  expect(balancer.requests.at(-1)).toContain("access_token=")
})
