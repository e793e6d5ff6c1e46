import { expect, it } from "vitest"
import { invitation, linkTo, roomName } from "../src/address"

const ROOM = "550e8400-e29b-41d4-a716-446655440000"
const page = (rest: string) => new URL(`https://study.example/rooms/${rest}`)

it("finds the room in the fragment, in whatever case it was written", () => {
  expect(invitation(page(`#${ROOM.toUpperCase()}`))).toEqual({ roomId: ROOM, name: null, found: "room" })
})

it("understands the older form of a link", () => {
  expect(invitation(page(`?room=${ROOM}`))).toEqual({ roomId: ROOM, name: null, found: "room" })
})

it.each([
  ["", "nothing"],
  ["#", "nothing"],
  ["#no-such-thing", "no room"],
  ["#<script>", "no room"],
])("makes a new room where the address %j names none", (rest, found) => {
  expect(invitation(page(rest), () => "new")).toEqual({ roomId: "new", name: null, found })
})

it("makes links that lead to the room, on the page's own path", () => {
  const link = linkTo(ROOM, null, page("?room=another#more"))
  expect(link).toBe(`https://study.example/rooms/#${ROOM}`)
  expect(invitation(new URL(link)).roomId).toBe(ROOM)
})

it("has the name that people gave the room behind its id, whatever is in it", () => {
  for (const name of ["Maths / Tuesdays", "100 % #1?", "Grüße 😀", ROOM]) {
    const link = linkTo(ROOM, name, page(""))
    expect(invitation(new URL(link))).toEqual({ roomId: ROOM, name, found: "room" })
  }
  for (const rest of ["/", "/%20", "/%E2%82", "/%0A%0A"])
    expect(invitation(page(`#${ROOM}${rest}`))).toEqual({ roomId: ROOM, name: null, found: "room" })
  expect(invitation(page(`#${ROOM}/a%0A%20b${"c".repeat(99)}`)).name).toBe(`a b${"c".repeat(57)}`)
})

it("gives a room the same name everywhere, and most rooms different ones", () => {
  expect(roomName(ROOM)).toBe(roomName(ROOM))
  const names = new Set(Array.from({ length: 100 }, () => roomName(crypto.randomUUID())))
  expect(names.size).toBeGreaterThan(80)
  for (const name of names) expect(name).toMatch(/^[A-Z][a-z]+ [A-Z][a-z]+$/)
})
