/** The user as editors of shared documents show them: other editors know the fields `name` and `color`. Pure. */

import { face, hue } from "../face"

const NAME_MAX = 64
const UUID = /^[0-9a-f-]{36}$/

export interface Author {
  id: string
  name: string
  color: string
}

export function author(userId: string, username: string): Author {
  return { id: userId, name: face(username).name, color: colour(hue(userId)) }
}

/** The name and the hue to show for what another editor says about its user. It may be anything. */
export function shown(user: unknown, clientId: number): { name: string; hue: number } {
  const { id, name } = (typeof user === "object" && user !== null ? user : {}) as Record<string, unknown>
  return {
    name: typeof name === "string" ? name.slice(0, NAME_MAX) : "",
    hue: typeof id === "string" && UUID.test(id) ? hue(id) : clientId % 360,
  }
}

/** A colour that is legible with white text, as `#rrggbb`. `hue`: degrees. */
function colour(hue: number): string {
  const [saturation, lightness] = [0.6, 0.36]
  const part = (shift: number) => {
    const at = (shift + hue / 30) % 12
    const value = lightness - saturation * lightness * Math.max(-1, Math.min(at - 3, 9 - at, 1))
    return Math.round(255 * value)
      .toString(16)
      .padStart(2, "0")
  }
  return `#${part(0)}${part(8)}${part(4)}`
}
