/** Web addresses in a text. Pure. */

export interface Part {
  text: string
  /** Present if the part is a web address. */
  href?: string
}

const START = /(?<![A-Za-z0-9])https?:\/\//gi
/** Characters that end an address wherever they are: blanks, invisible ones, quotes, and the punctuation of CJK texts. */
const END = /[\s\p{C}<>"`“”„«»‹›。，、；：！？．…「」『』【】《》〈〉〔〕]|\*\*/u
/** Characters that belong to an address only if more of it follows. */
const TRAILING = /[.,;:!?'’*_~]+$/
/** Longer ones stay text, so that the search takes no time to speak of. */
const LONGEST = 4096
const OPENING = "([{（"
const CLOSING = ")]}）"

/** Divides a text into web addresses and the text between them. Only http and https count. */
export function withLinks(text: string): Part[] {
  const parts: Part[] = []
  let done = 0
  for (const { index } of text.matchAll(START)) {
    if (index < done) continue
    const address = addressAt(text, index)
    if (address === null) continue
    if (index > done) parts.push({ text: text.slice(done, index) })
    parts.push({ text: address, href: address })
    done = index + address.length
  }
  if (done < text.length) parts.push({ text: text.slice(done) })
  return parts
}

/** The address that begins at this index, or null if none does. */
function addressAt(text: string, start: number): string | null {
  const rest = text.slice(start, start + LONGEST)
  const end = END.exec(rest)?.index ?? rest.length
  if (end === LONGEST) return null
  const address = balanced(rest.slice(0, end)).replace(TRAILING, "")
  return isAddress(address) ? address : null
}

/** The text up to the first closing bracket without an opening one: "(see https://a.example/b_(c))" has one. */
function balanced(text: string): string {
  const open: number[] = []
  for (let index = 0; index < text.length; index++) {
    const character = text[index] as string
    if (OPENING.includes(character)) open.push(OPENING.indexOf(character))
    else if (CLOSING.includes(character) && open.pop() !== CLOSING.indexOf(character))
      return text.slice(0, index)
  }
  return text
}

function isAddress(text: string): boolean {
  try {
    return new URL(text).hostname !== ""
  } catch {
    return false
  }
}
