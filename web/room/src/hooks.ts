import type { Cursor, Readable } from "@studyroom/client"
import { useClient, useReadable } from "@studyroom/client/react"
import { useMemo, useSyncExternalStore } from "react"
import { placeOf } from "./places"

/** Whether the tab is in front. */
export function useVisible(): boolean {
  return useSyncExternalStore(
    (listener) => {
      document.addEventListener("visibilitychange", listener)
      return () => document.removeEventListener("visibilitychange", listener)
    },
    () => document.visibilityState === "visible",
  )
}

/** Who sits where, by user id: changes only when somebody sits down elsewhere, not with every move of a cursor. */
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
