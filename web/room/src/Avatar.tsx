import type { CSSProperties } from "react"
import { face, hue } from "./face"

interface Props {
  userId: string
  username: string
}

/** A decoration without a label, because the name is beside it. */
export function Avatar({ userId, username }: Props) {
  const { sign, isEmoji } = face(username)
  return (
    <span className={isEmoji ? "avatar emoji" : "avatar"} style={hued(userId)} aria-hidden="true">
      {sign}
    </span>
  )
}

export function hued(userId: string): CSSProperties {
  return { "--hue": hue(userId) } as CSSProperties
}
