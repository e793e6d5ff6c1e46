/** Users with tokens, and guests: which user the client connects as. */

import { expect, onTestFinished, vi } from "vitest"
import type { IdentityStore } from "../../src/index.js"
import { contents, DEADLINE_MS, sent, test, until } from "../support/fixture.js"
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
  balancer.heal()
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

test("a token that expires while its user is in a room is replaced, and nothing is missed", async ({
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
  const console_ = vi.spyOn(console, "error").mockImplementation(() => {})
  onTestFinished(() => console_.mockRestore())
  const reasons: string[] = []
  client.on("close", ({ reason }) => reasons.push(reason))
  client.connect()
  const waiting = await until(client.connection, ({ status }) => status === "waiting")
  expect(waiting).toMatchObject({
    cause: { code: "token_failed", message: "Error: the session service is away" },
  })
  await until(client.connection, isOpen)
  expect(reasons).toEqual(Array(2).fill("Error: the session service is away"))
  expect(console_.mock.calls).toEqual([["studyroom: Error: the session service is away (token_failed)"]])
})

test("a signed-in user never becomes a guest: without a token the client waits", async ({
  balancer,
  member,
  roomId,
}) => {
  const console_ = vi.spyOn(console, "error").mockImplementation(() => {})
  onTestFinished(() => console_.mockRestore())
  let session: string | null = token("ann", "Ann")
  const ann = await member("a guest", roomId, { token: () => session })
  const before = ann.self.get()
  session = null
  balancer.cut()
  balancer.heal()
  const attempts: unknown[] = []
  ann.on("close", ({ cause }) => attempts.push(cause.code))
  await vi.waitFor(() => expect(attempts.filter((code) => code === "no_token").length).toBeGreaterThan(2), {
    timeout: DEADLINE_MS,
  })
  expect(console_).toHaveBeenCalledTimes(1)
  session = token("ann", "Ann")
  await until(ann.room, ({ status }) => status === "joined")
  expect(ann.self.get()).toBe(before)
})

test("the next person at this computer is another guest, and owns nothing of the first", async ({
  member,
  roomId,
}) => {
  const identity = keeping(null)
  const ann = await member("Ann", roomId, { identity })
  const bob = await member("Bob", roomId)
  await ann.sendChat("from the first")
  const first = ann.self.get()?.userId
  ann.forgetIdentity()
  await until(ann.self, (self) => self !== null && self.userId !== first)
  await sent(ann, 1)
  expect(ann.messages.get()).toMatchObject([{ content: "from the first", own: false }])
  await until(bob.others, (others) => others.length === 1 && others[0]?.userId !== first)
})

test("a guest that comes back is the same user", async ({ balancer, member, roomId }) => {
  const ann = await member("Ann", roomId)
  const before = ann.self.get()
  balancer.cut()
  await until(ann.connection, (state) => state.status === "waiting")
  balancer.heal()
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
  balancer.heal()
  await until(ann.room, ({ status }) => status === "joined")
  expect(ann.self.get()).toBe(before)
})
