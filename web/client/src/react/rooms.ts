"use client"

/** The rooms that components name. A client is in one room at a time: the one that was named last. */

import { sameRoom } from "../core/room-id.js"
import type { Client, RoomState } from "../types.js"

interface Place {
  roomId: string
}

/** The places of all components with a room, in the order in which they came. */
const places = new WeakMap<Client, Set<Place>>()

/**
 * Join a room for a component. Returns a function for when the component goes. If its room is then named by no other
 * component, the client joins the room that was named last, or leaves. That happens after a microtask, because strict
 * mode, and one component in the place of another, let go and hold again at once.
 */
export function holdRoom(client: Client, roomId: string): () => void {
  const held = places.get(client) ?? new Set()
  places.set(client, held)
  const place: Place = { roomId }
  held.add(place)
  void client.join(roomId)
  return () => {
    held.delete(place)
    queueMicrotask(() => {
      const room = client.room.get()
      const isHeld = [...held].some((other) => sameRoom(other.roomId, roomId))
      if (isHeld || !isAbout(room, roomId)) return
      const last = [...held].at(-1)
      if (last === undefined) client.leave()
      else void client.join(last.roomId)
    })
  }
}

export function isAbout(state: RoomState, roomId: string): boolean {
  return state.status !== "none" && sameRoom(state.roomId, roomId)
}
