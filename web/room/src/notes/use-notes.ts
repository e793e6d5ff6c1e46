import { openDocument, type SharedDocument } from "@studyroom/client/documents"
import { useReadable, useSelf } from "@studyroom/client/react"
import { useCallback, useEffect, useState } from "react"
import { named } from "../face"
import { memory } from "../memory"
import { author } from "./colour"
import { Unsaved } from "./unsaved"

/** The name of the document in each room. */
export const NAME = "notes"

export interface Opened {
  shared: SharedDocument
  unsaved: Unsaved
}

/**
 * The notes of the room, connected as the user of the page. Null until the user is in the room, because a guest gets the
 * identity there. `again` forgets what is not saved and opens them as the server has them.
 */
export function useNotes(roomId: string): [Opened | null, again: () => void] {
  const self = useSelf()
  const [opened, setOpened] = useState<Opened | null>(null)
  const [round, setRound] = useState(0)
  const [userId, username] = [self?.userId, self?.username]
  // biome-ignore lint/correctness/useExhaustiveDependencies: another round opens it again
  useEffect(() => {
    if (userId === undefined) return
    const shared = openDocument(
      {
        url: new URL("ws", document.baseURI),
        username: named(memory.name.get() ?? "", memory.emoji.get() ?? ""),
        identity: memory.guestToken,
      },
      roomId,
      NAME,
    )
    const unsaved = new Unsaved(shared.doc, shared.state, roomId, userId)
    setOpened({ shared, unsaved })
    return () => {
      unsaved.stop()
      shared.close()
      setOpened(null)
    }
  }, [roomId, userId, round])
  useEffect(() => {
    if (userId !== undefined && username !== undefined)
      opened?.shared.awareness.setLocalStateField("user", author(userId, username))
  }, [opened, userId, username])
  const again = useCallback(() => {
    opened?.unsaved.discard()
    setRound((before) => before + 1)
  }, [opened])
  return [opened, again]
}

/** Whether the document has been synced since it was opened. */
export function useBefore({ state }: SharedDocument): boolean {
  const { status } = useReadable(state)
  const [before, setBefore] = useState(status === "synced")
  useEffect(() => {
    if (status === "synced") setBefore(true)
  }, [status])
  return before
}
