// @vitest-environment jsdom
import { beforeEach, expect, test } from "vitest"
import { Identity } from "../../src/identity.js"
import type { ClientOptions } from "../../src/index.js"

const URL_HERE = "ws://study.example/ws"

beforeEach(() => {
  localStorage.clear()
  sessionStorage.clear()
})

const at = (identity?: NonNullable<ClientOptions["identity"]>, url = URL_HERE) =>
  new Identity(identity ? { url, identity } : { url })
const guest = async (identity: Identity) => (await identity.query()).guest_token

test.each([
  [undefined, sessionStorage],
  ["tab", sessionStorage],
  ["browser", localStorage],
] as const)("with %s the guest is kept, and only there", async (kind, storage) => {
  at(kind).welcomed("ann")
  expect(await guest(at(kind))).toBe("ann")
  expect([localStorage.length, sessionStorage.length]).toEqual(storage === localStorage ? [1, 0] : [0, 1])
})

test("with memory the guest is gone with the client", async () => {
  const identity = at("memory")
  identity.welcomed("ann")
  expect(await guest(identity)).toBe("ann")
  expect(await guest(at("memory"))).toBeUndefined()
  expect(sessionStorage.length).toBe(0)
})

test("guests of two servers are kept apart", async () => {
  at().welcomed("ann")
  expect(await guest(at(undefined, "ws://other.example/ws"))).toBeNull()
})

test.each(["tab", "browser"] as const)("a guest in %s can be forgotten", async (kind) => {
  const identity = at(kind)
  identity.welcomed("ann")
  identity.forget()
  expect([await guest(identity), await guest(at(kind))].map(Boolean)).toEqual([false, false])
})
