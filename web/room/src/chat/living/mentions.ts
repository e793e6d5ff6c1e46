/** Mentions in a text: "@" and the name of somebody. Pure. */

export interface Named {
  userId: string
  name: string
}

/** The server takes no more in one message. */
const MENTIONS_MAX = 20
const SUGGESTED_MAX = 6
/** A name that is being written. It begins a word, and has no space yet. */
const BEGUN = /(?:^|[^\p{L}\p{N}])@([^\s@]{0,30})$/u
const OF_WORD = /[\p{L}\p{N}]/u

/** The mention that ends at the caret, or null. `start`: the index of its "@". */
export function begun(text: string, caret: number): { start: number; query: string } | null {
  const [, query] = BEGUN.exec(text.slice(0, caret)) ?? []
  return query === undefined ? null : { start: caret - query.length - 1, query }
}

/** Those of whose name a word begins with the query. */
export function matching<T extends Named>(query: string, people: readonly T[]): T[] {
  const wanted = query.toLocaleLowerCase()
  const fits = ({ name }: Named) =>
    [name, ...name.split(/\s+/)].some((part) => part.toLocaleLowerCase().startsWith(wanted))
  return people.filter(fits).slice(0, SUGGESTED_MAX)
}

/** The text with this name in place of what was written of it, and a space after it. */
export function completed(text: string, start: number, caret: number, name: string) {
  const before = `${text.slice(0, start)}@${name} `
  return { text: before + text.slice(caret).replace(/^ /, ""), caret: before.length }
}

/** The users that a text mentions, in its order. Of people with one name, the first counts. */
export function mentionsIn(text: string, people: readonly Named[]): string[] {
  const ids = new Map<string, string>()
  for (const { userId, name } of people) if (!ids.has(name)) ids.set(name, userId)
  const found = split(text, [...ids.keys()]).flatMap(({ name }) => (name ? [ids.get(name) as string] : []))
  return [...new Set(found)].slice(0, MENTIONS_MAX)
}

/** Divides a text into mentions of these names, with `name`, and what is between them. */
export function split(text: string, names: readonly string[]): { text: string; name?: string }[] {
  const longestFirst = [...names].filter(Boolean).sort((one, other) => other.length - one.length)
  const parts: { text: string; name?: string }[] = []
  let done = 0
  for (let at = text.indexOf("@"); at !== -1; at = text.indexOf("@", at + 1)) {
    const name = longestFirst.find((name) => isAt(text, at, name))
    if (name === undefined) continue
    if (at > done) parts.push({ text: text.slice(done, at) })
    done = at + 1 + name.length
    parts.push({ text: text.slice(at, done), name })
    at = done - 1
  }
  if (done < text.length) parts.push({ text: text.slice(done) })
  return parts
}

/** Whether a mention of this name is there, and no part of a longer word or of an address. */
function isAt(text: string, at: number, name: string): boolean {
  const [before, after] = [text.slice(0, at).at(-1), text.slice(at + 1 + name.length).at(0)]
  return text.startsWith(name, at + 1) && !(before && OF_WORD.test(before)) && !(after && OF_WORD.test(after))
}
