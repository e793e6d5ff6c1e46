import type { ChatReferences } from "@studyroom/client"
import { type KeyboardEvent, type RefObject, useId, useLayoutEffect, useRef, useState } from "react"
import { Avatar } from "../../Avatar"
import { useTexts } from "../../texts"
import { begun, completed, matching, mentionsIn } from "./mentions"
import { useOffered } from "./offered"
import { type Person, useNameOf, usePersons } from "./people"

export interface Mentions {
  /** Those who may be meant by what is written of a name. Empty while the list is closed. */
  suggested: readonly Person[]
  /** The index of the one that Enter chooses. */
  marked: number
  listId: string
  choose: (person: Person) => void
}

const STEPS: Readonly<Record<string, number>> = { ArrowDown: 1, ArrowUp: -1 }

/** Mentions in the text of a field: a list of members while a name is being written, and the users in the end. */
export function useMentions(
  field: RefObject<HTMLTextAreaElement | null>,
  text: string,
  setText: (text: string) => void,
) {
  const offered = useOffered()
  const others = usePersons()
  const nameOf = useNameOf()
  const listId = useId()
  const [caret, setCaret] = useState<number | null>(null)
  const [marked, setMarked] = useState(0)
  /** Those who were chosen from the list. Others may have the same names. */
  const picked = useRef<Person[]>([])
  const moveTo = useRef<number | null>(null)
  const mention = offered && caret !== null ? begun(text, caret) : null
  const suggested = mention ? matching(mention.query, others) : []

  useLayoutEffect(() => {
    if (moveTo.current !== null) field.current?.setSelectionRange(moveTo.current, moveTo.current)
    moveTo.current = null
  })

  const close = () => setCaret(null)
  const choose = (person: Person) => {
    if (!mention || caret === null) return
    const next = completed(text, mention.start, caret, person.name)
    picked.current.push(person)
    moveTo.current = next.caret
    setText(next.text)
    close()
  }
  /** Call it when the text or the caret may have moved. */
  const look = () => {
    const { selectionStart, selectionEnd } = field.current as HTMLTextAreaElement
    setCaret(selectionStart === selectionEnd ? selectionStart : null)
    setMarked(0)
  }
  /** Returns whether the key was for the list. */
  const press = (event: KeyboardEvent): boolean => {
    const person = suggested[marked]
    if (person === undefined) return false
    if (event.key === "Escape") close()
    else if (event.key in STEPS) {
      setMarked((marked + (STEPS[event.key] ?? 0) + suggested.length) % suggested.length)
    } else if ((event.key === "Enter" && !event.shiftKey) || event.key === "Tab") choose(person)
    else return false
    event.preventDefault()
    return true
  }
  /** The users that a text mentions. `before`: those that it mentioned so far, who may have left. */
  const of = (written: string, before: readonly string[] = []): string[] => {
    const known = before.flatMap((userId) => ({ userId, name: nameOf(userId) ?? "" }))
    return mentionsIn(written, [...picked.current, ...known, ...others])
  }
  const references = (written: string, replyTo: string | null | undefined): ChatReferences => {
    const mentions = offered ? of(written) : []
    return { ...(replyTo ? { reply_to: replyTo } : {}), ...(mentions.length > 0 ? { mentions } : {}) }
  }
  const isOpen = suggested.length > 0
  return {
    suggested,
    marked,
    listId,
    choose,
    close,
    look,
    press,
    of,
    references,
    forget: () => {
      picked.current = []
      close()
    },
    attributes: {
      "aria-autocomplete": offered ? ("list" as const) : undefined,
      "aria-controls": isOpen ? listId : undefined,
      "aria-activedescendant": isOpen ? `${listId}-${marked}` : undefined,
    },
  }
}

export function Suggestions({ suggested, marked, listId, choose }: Mentions) {
  const t = useTexts()
  return (
    <>
      <span className="unseen" role="status">
        {suggested.length > 0 && t.suggested(suggested.length)}
      </span>
      {suggested.length > 0 && (
        <div id={listId} className="suggestions panel" role="listbox" aria-label={t.mention}>
          {suggested.map((person, index) => (
            // biome-ignore lint/a11y/useKeyWithClickEvents: the keys are those of the field
            // biome-ignore lint/a11y/useFocusableInteractive: the field has the focus
            <div
              key={person.userId}
              id={`${listId}-${index}`}
              role="option"
              aria-selected={index === marked}
              // The field keeps the focus.
              onPointerDown={(event) => event.preventDefault()}
              onClick={() => choose(person)}
            >
              <Avatar userId={person.userId} username={person.username} />
              <bdi>{person.name}</bdi>
            </div>
          ))}
        </div>
      )}
    </>
  )
}
