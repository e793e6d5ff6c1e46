import { useClient, useMyPresence, useReadable } from "@studyroom/client/react"
import { useEffect } from "react"
import { linkTo } from "../address"
import { type Shape, useRecord } from "../record/use-record"
import { nameOf, type RoomName } from "./name"
import { remember, rememberedName } from "./recent"

const NAME: Shape<RoomName> = { field: "room_name", read: nameOf, lives: () => true }
/** The time of a name that is only remembered. Every name that somebody gives is newer. */
const LONG_AGO = 1

/**
 * The name that people gave the room, and a function that gives it another one. `invited`: the name in the link. The
 * address and the list of recent rooms follow the name.
 */
export function useName(roomId: string, invited: string | null): [string | null, (name: string) => void] {
  const joined = useReadable(useClient().room).status === "joined"
  const [, update] = useMyPresence()
  const [record, write] = useRecord(NAME)
  const name = record?.text ?? invited ?? rememberedName(roomId)
  const isUnknownHere = joined && record === null
  useEffect(() => {
    // The others may have another link.
    if (isUnknownHere && name !== null) update({ [NAME.field]: { at: LONG_AGO, text: name } })
  }, [isUnknownHere, name, update])
  useEffect(() => {
    remember({ roomId, name })
    history.replaceState(null, "", linkTo(roomId, name, new URL(location.href)))
  }, [roomId, name])
  return [name, (text) => write((at) => ({ at, text }))]
}
