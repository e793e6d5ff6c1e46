/**
 * The room that the address names. Its id is in the fragment, and after it the name that people gave it, if any. No
 * server's log and no Referer has a fragment.
 */

import { newId } from "@studyroom/client"
import { oneLine } from "./rooms/name"

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

export interface Invitation {
  roomId: string
  /** The name in the address, or null. */
  name: string | null
  /** The content of the address: the id of a room, nothing, or something that names no room. */
  found: "room" | "nothing" | "no room"
}

/** Reads the room from an address. Older links have it in `?room=`. */
export function invitation(url: URL, makeId: () => string = newId): Invitation {
  const [id = "", name = ""] = divided(url.hash.slice(1) || (url.searchParams.get("room") ?? ""))
  const asked = id.toLowerCase()
  if (UUID.test(asked)) return { roomId: asked, name: nameIn(name), found: "room" }
  return { roomId: makeId(), name: null, found: asked ? "no room" : "nothing" }
}

export function linkTo(roomId: string, name: string | null, page: URL): string {
  const fragment = name === null ? roomId : `${roomId}/${encodeURIComponent(name)}`
  return new URL(`#${fragment}`, new URL(page.pathname, page.origin)).href
}

function divided(text: string): string[] {
  const slash = text.indexOf("/")
  return slash === -1 ? [text] : [text.slice(0, slash), text.slice(slash + 1)]
}

function nameIn(encoded: string): string | null {
  try {
    return oneLine(decodeURIComponent(encoded))
  } catch {
    return null // it was cut in the middle of a character
  }
}

const QUALITIES =
  "Amber Autumn Bright Calm Cedar Clear Coral Early Golden Green Hazel Ivory Jade Linen Lunar Maple Mellow Mint Misty Morning Noble Olive Pearl Quiet Rainy Silver Slate Snowy Still Sunny Velvet Willow"
const PLACES =
  "Alcove Annex Arcade Archive Attic Atrium Balcony Bower Cabin Cloister Conservatory Corner Courtyard Den Gallery Garden Harbour Haven Hideaway Hut Library Loft Lounge Nook Orchard Pavilion Parlour Porch Studio Terrace Tower Veranda"

/** A name for people, computed from the id and so the same for everyone. Two rooms may have the same name. */
export function roomName(roomId: string): string {
  const digits = Number.parseInt(roomId.slice(-8), 16)
  const pick = (words: string, index: number) => words.split(" ")[index % 32] ?? ""
  return `${pick(QUALITIES, digits & 31)} ${pick(PLACES, digits >>> 5)}`
}
