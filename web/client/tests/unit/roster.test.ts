import { expect, test } from "vitest"
import { Roster } from "../../src/core/roster.js"

const user = (id: string, username = id) => ({ user_id: id, username, avatar_url: null, cursor: null })
const names = (members: readonly { username: string }[]) => members.map(({ username }) => username)

function rosterOf(...ids: string[]): Roster {
  const roster = new Roster()
  roster.load(ids.map((id) => user(id)))
  return roster
}

test("a roster that is taken again shows the difference, and members that stay keep their place", () => {
  const roster = rosterOf("a", "b", "c")
  const { joined, left } = roster.load([user("d"), user("c"), user("a")])
  expect([names(joined), names(left), names(roster.members)]).toEqual([["d"], ["b"], ["a", "c", "d"]])
})

test("the same roster again changes nothing that is watched", () => {
  const roster = rosterOf("a", "b")
  const { members, typing } = roster
  roster.load([user("b"), user("a")])
  expect(roster.members).toBe(members)
  expect(roster.typing).toBe(typing)
})

test("a member with another name is the same member", () => {
  const roster = rosterOf("a", "b")
  expect(roster.put(user("a", "A"))).toBeNull()
  expect(names(roster.members)).toEqual(["A", "b"])
})

test("a member who leaves is no longer typing", () => {
  const roster = rosterOf("a", "b")
  roster.setTyping("a", true)
  expect(names(roster.typing)).toEqual(["a"])
  roster.remove("a")
  roster.put(user("a"))
  expect(roster.typing).toEqual([])
})

test("typing may come before its member", () => {
  const roster = rosterOf("a")
  roster.setTyping("b", true)
  expect(roster.typing).toEqual([])
  roster.put(user("b"))
  expect(names(roster.typing)).toEqual(["b"])
})
