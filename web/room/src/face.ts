/** The picture of a user: initials or an emoji, on a colour computed from their id. */

const LEADING_EMOJI =
  /^(\p{Extended_Pictographic}(?:\p{Emoji_Modifier}|\uFE0F|\u200D\p{Extended_Pictographic})*)\s+(\S.*)$/u

export interface Face {
  /** The name without the emoji before it. */
  name: string
  /** One or two letters, or the emoji before the name. */
  sign: string
  isEmoji: boolean
}

export function face(username: string): Face {
  const [, emoji, rest] = LEADING_EMOJI.exec(username) ?? []
  if (emoji && rest) return { name: rest, sign: emoji, isEmoji: true }
  const words = username.split(/\s+/).filter((word) => /^[\p{L}\p{N}]/u.test(word))
  const letters = [words[0], words.length > 1 ? words.at(-1) : undefined].map(
    (word) => [...(word ?? "")][0] ?? "",
  )
  return { name: username, sign: letters.join("").toUpperCase() || "?", isEmoji: false }
}

export function named(name: string, emoji: string): string {
  return emoji && name ? `${emoji} ${name}` : name
}

/** Returns degrees on the colour wheel. */
export function hue(userId: string): number {
  return (Number.parseInt(userId.slice(-6), 16) * 137) % 360
}
