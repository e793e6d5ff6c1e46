import type { Member } from "@studyroom/client"
import { expect, it } from "vitest"
import { handOf, handsFirst, LONGEST_STATUS, statusOf } from "../src/desk/shown"

it("shows a raised hand and a status, and nothing else that a member writes there", () => {
  expect(handOf({ hand: 5 })).toBe(5)
  for (const hand of [undefined, null, true, "5", {}, Number.NaN]) expect(handOf({ hand })).toBeNull()
  expect(statusOf({ status: "  two\n lines " })).toBe("two lines")
  for (const status of [undefined, null, 7, ["x"], "", " \u200b"]) expect(statusOf({ status })).toBeNull()
  expect(statusOf({ status: "😀".repeat(200) })).toBe("😀".repeat(LONGEST_STATUS))
})

it("lists raised hands first, in the order in which they were raised, and leaves a list without any alone", () => {
  const member = (userId: string, hand?: number): Member => ({
    userId,
    username: userId,
    avatarUrl: null,
    presence: hand === undefined ? {} : { hand },
  })
  const members = [member("a"), member("b", 9), member("c"), member("d", 4)]
  expect(handsFirst(members).map(({ userId }) => userId)).toEqual(["d", "b", "a", "c"])
  const quiet = [member("a"), member("c")]
  expect(handsFirst(quiet)).toBe(quiet)
})
