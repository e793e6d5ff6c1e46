/** The length of messages, as the server counts it: in code points. Pure. */

import { isBlank } from "@studyroom/client"

export function lengthOf(text: string): number {
  let count = 0
  for (const _ of text) count += 1
  return count
}

/**
 * Divides a text into messages of at most `longest` characters. It cuts between lines where it can, else between
 * words, else anywhere.
 */
export function divided(text: string, longest: number): string[] {
  const found: string[] = []
  let rest = [...text.trim()]
  while (rest.length > longest) {
    const end = cut(rest, longest)
    found.push(rest.slice(0, end).join("").trim())
    rest = [...rest.slice(end).join("").trimStart()]
  }
  return [...found, rest.join("")].filter((part) => !isBlank(part))
}

/** The number of characters before the best place to cut. */
function cut(characters: readonly string[], longest: number): number {
  const half = longest / 2
  for (const gap of [/\n/, /\s/]) {
    for (let end = longest; end > half; end--) if (gap.test(characters[end] as string)) return end
  }
  return longest
}
