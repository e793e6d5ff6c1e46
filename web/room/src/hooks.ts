import type { Cursor, Readable } from "@studyroom/client"
import { useClient, useReadable, useSelf } from "@studyroom/client/react"
import { useEffect, useMemo, useState, useSyncExternalStore } from "react"
import { placeOf } from "./places"
import { Tabs } from "./tabs"

/** Whether the tab is visible. */
export function useVisible(): boolean {
  return useSyncExternalStore(
    (listener) => {
      document.addEventListener("visibilitychange", listener)
      return () => document.removeEventListener("visibilitychange", listener)
    },
    () => document.visibilityState === "visible",
  )
}

/** The number of other tabs of this browser in the same room as the same user. */
export function useOtherTabs(): number {
  const room = useReadable(useClient().room)
  const userId = useSelf()?.userId
  const roomId = room.status === "joined" ? room.roomId : undefined
  const [count, setCount] = useState(0)
  useEffect(() => {
    if (roomId === undefined || userId === undefined) return
    const tabs = new Tabs(roomId, userId)
    tabs.subscribe(() => setCount(tabs.get()))
    return () => {
      tabs.stop()
      setCount(0)
    }
  }, [roomId, userId])
  return count
}

/**
 * The place of each user who has one, by user id. It changes only when a user changes places, not with every move of a
 * cursor.
 */
export function usePlaces(): ReadonlyMap<string, string> {
  const { cursors } = useClient()
  return useReadable(useMemo(() => places(cursors), [cursors]))
}

export function places(
  cursors: Readable<ReadonlyMap<string, Pick<Cursor, "elementId">>>,
): Readable<ReadonlyMap<string, string>> {
  let known: ReadonlyMap<string, string> = new Map()
  return {
    subscribe: (listener) => cursors.subscribe(listener),
    get: () => {
      const now = new Map<string, string>()
      for (const [userId, { elementId }] of cursors.get()) {
        const place = placeOf(elementId)
        if (place) now.set(userId, place.id)
      }
      const same = now.size === known.size && [...now].every(([userId, place]) => known.get(userId) === place)
      if (!same) known = now
      return known
    },
  }
}
