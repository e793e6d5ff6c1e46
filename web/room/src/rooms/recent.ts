/** The rooms that the user was in, with their names, in this browser. */

import { memory } from "../memory"
import { oneLine } from "./name"

export interface Recent {
  roomId: string
  name: string | null
}

const MOST = 8

/** The latest first. */
export function recentRooms(): readonly Recent[] {
  try {
    const stored: unknown = JSON.parse(memory.rooms.get() ?? "[]")
    return Array.isArray(stored) ? stored.flatMap(known).slice(0, MOST) : []
  } catch {
    return [] // somebody else has written there
  }
}

export function remember(room: Recent): void {
  const others = recentRooms().filter(({ roomId }) => roomId !== room.roomId)
  memory.rooms.set(JSON.stringify([room, ...others].slice(0, MOST)))
}

/** The name that the room had when the user was there, or null. */
export function rememberedName(roomId: string): string | null {
  return recentRooms().find((room) => room.roomId === roomId)?.name ?? null
}

function known(value: unknown): Recent[] {
  const { roomId, name } = (value ?? {}) as { roomId?: unknown; name?: unknown }
  if (typeof roomId !== "string" || !/^[0-9a-f-]{36}$/.test(roomId)) return []
  return [{ roomId, name: typeof name === "string" ? oneLine(name) : null }]
}
