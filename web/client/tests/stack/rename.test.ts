/** Guests who take another name. */

import { expect } from "vitest"
import { test, until } from "../support/fixture.js"
import { token } from "../support/token.js"

test("a guest has the last of several names at once, keeps it after a lost connection, and is never seen to leave", async ({
  balancer,
  member,
  roomId,
}) => {
  const bob = await member("Bob", roomId)
  const ann = await member("Ann", roomId)
  await until(bob.others, ({ length }) => length === 1)
  const changes: string[] = []
  bob.on("userLeft", () => changes.push("left"))
  bob.on("userJoined", () => changes.push("joined"))
  for (let number = 0; number <= 5; number += 1) ann.rename(`Ann  ${number}`)
  await until(bob.others, ([member]) => member?.username === "Ann 5")
  await until(ann.self, (self) => self?.username === "Ann 5")
  balancer.cut()
  await until(ann.connection, ({ status }) => status === "waiting")
  ann.rename("Grace")
  balancer.heal()
  await until(ann.self, (self) => self?.username === "Grace")
  await until(bob.others, ([member]) => member?.username === "Grace")
  expect(changes).toEqual([])
})

test("the name of a user with a token is that of the token", async ({ member, roomId }) => {
  const ann = await member("", roomId, { token: token("ann", "Ann") })
  const refused = new Promise((resolve) => ann.on("error", ({ error }) => resolve(error.code)))
  ann.rename("Somebody")
  expect(await refused).toBe("rename_not_allowed")
  expect((await ann.sendChat("still Ann")).username).toBe("Ann")
})
