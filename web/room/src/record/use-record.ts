import { useClient, useMyPresence, useOthers, useReadable, useSelf } from "@studyroom/client/react"
import { useEffect, useState } from "react"
import { serverNow } from "../clock"
import { duty, isNewer, newest, type Stamped } from "./record"

/** A kind of record. */
export interface Shape<T extends Stamped> {
  /** The field of the presence. */
  field: string
  /** The record in this value, or null. Other clients may write anything there. */
  read: (value: unknown, now: number) => T | null
  /** Whether a record still matters when the member who wrote it has left. */
  lives: (record: T, now: number) => boolean
}

/** The newest record that this page has seen, and a function that writes another one. Pass the same shape each time. */
export function useRecord<T extends Stamped>(shape: Shape<T>): [T | null, (make: (at: number) => T) => void] {
  const { field, read, lives } = shape
  const room = useReadable(useClient().room)
  const userId = useSelf()?.userId
  const others = useOthers()
  const [presence, update] = useMyPresence()
  const [known, setKnown] = useState<T | null>(null)
  const now = serverNow()
  const own = read(presence[field], now)
  const seen = newest([own, ...others.map((member) => read(member.presence[field], now))])
  if (seen && (!known || isNewer(seen, known))) setKnown(seen)

  useEffect(() => {
    if (room.status !== "joined" || userId === undefined) return
    const now = serverNow()
    const held = new Map(others.map((member) => [member.userId, read(member.presence[field], now)]))
    const own = read(presence[field], now)
    const todo = duty(known, known !== null && lives(known, now), own, userId, held)
    if (todo.type === "drop") update({ [field]: null })
    if (todo.type !== "take over") return
    const turn = setTimeout(() => update({ [field]: known }), todo.inMs)
    return () => clearTimeout(turn)
  }, [field, read, lives, room, userId, others, presence, known, update])

  return [known, (make) => update({ [field]: make(Math.max(serverNow(), (known?.at ?? 0) + 1)) })]
}
