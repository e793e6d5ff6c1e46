import type { CSSProperties } from "react"
import { face, hue } from "./face"

interface Props {
  userId: string
  username: string
}

/** A decoration: the name stands beside it. */
export function Avatar({ userId, username }: Props) {
  return (
    <span className="avatar" style={hued(userId)} aria-hidden="true">
      {face(username).sign}
    </span>
  )
}

export function hued(userId: string): CSSProperties {
  return { "--hue": hue(userId) } as CSSProperties
}
