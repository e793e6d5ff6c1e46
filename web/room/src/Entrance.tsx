import { isBlank } from "@studyroom/client"
import { type FormEvent, type ReactNode, useEffect, useRef, useState } from "react"
import { type Invitation, roomName } from "./address"
import { lengthOf } from "./chat/length"
import { face } from "./face"
import { memory } from "./memory"
import { Names } from "./Names"
import { ThemeButton } from "./ThemeButton"

const EMOJI = ["🦊", "🐢", "🦉", "🐝", "🐙", "🦋", "🌵", "🍄"]
/** The server cuts names at 100 characters, and the sign is one of them. */
const LONGEST_NAME = 60

interface Props {
  invitation: Invitation
  /** Whether the user was in the room a moment ago. */
  returning: boolean
  onEnter: () => void
}

export function Entrance({ invitation, returning, onEnter }: Props) {
  const [name, setName] = useState(memory.name.get() ?? "")
  const [emoji, setEmoji] = useState(memory.emoji.get() ?? "")
  const [fault, setFault] = useState<string | null>(null)
  const [known, setKnown] = useState(memory.guestToken.get() !== null)
  const inside = useInside(invitation.roomId)
  const field = useRef<HTMLInputElement>(null)
  useEffect(() => field.current?.focus(), [])

  const change = (changed: string) => {
    setName(changed)
    if (fault) setFault(faultOf(changed))
  }
  const enter = (event: FormEvent) => {
    event.preventDefault()
    const found = faultOf(name)
    setFault(found)
    if (found) return field.current?.focus()
    memory.name.set(name.trim())
    memory.emoji.set(emoji || null)
    onEnter()
  }
  const becomeSomeoneElse = () => {
    memory.becomeSomeoneElse()
    setKnown(false)
    setName("")
    setEmoji("")
    field.current?.focus()
  }

  return (
    <main className="entrance">
      <form className="panel" onSubmit={enter} noValidate>
        <p className="brand">Studyroom</p>
        <h1>{roomName(invitation.roomId)}</h1>
        <p className="dim introduction" role="status">
          {introduction(invitation, returning, inside)}
        </p>
        <label htmlFor="name">Your name</label>
        <input
          ref={field}
          id="name"
          dir="auto"
          value={name}
          autoComplete="nickname"
          placeholder="What shall the others call you?"
          required
          aria-invalid={fault !== null}
          aria-describedby="name-fault"
          onChange={(event) => change(event.target.value)}
        />
        <p id="name-fault" className="fault" role="alert">
          {fault}
        </p>
        <fieldset className="signs">
          <legend>Your sign</legend>
          {["", ...EMOJI].map((sign) => (
            <label key={sign}>
              <input
                type="radio"
                name="emoji"
                checked={emoji === sign}
                aria-label={sign || "My initials"}
                onChange={() => setEmoji(sign)}
              />
              <span aria-hidden="true">{sign || face(name || "A").sign}</span>
            </label>
          ))}
        </fieldset>
        <button type="submit" className="primary" disabled={inside === "closed"}>
          Enter the room
        </button>
        {known && (
          <button type="button" onClick={becomeSomeoneElse}>
            I am someone else
          </button>
        )}
      </form>
      <ThemeButton />
    </main>
  )
}

/** The reason why a name cannot be used, or null. */
function faultOf(name: string): string | null {
  if (isBlank(name)) return "Enter a name that the others can see."
  const length = lengthOf(name.trim())
  if (length > LONGEST_NAME)
    return `A name has at most ${LONGEST_NAME} characters, and this has ${length}. Shorten it.`
  return null
}

/**
 * The names of other members and whether the user is one too, "closed" if the server admits no guests, or "unknown" if it did not answer. Null while the page
 * waits for the answer.
 */
type Inside = { others: readonly string[]; own: boolean } | "closed" | "unknown" | null

function introduction({ found }: Invitation, returning: boolean, inside: Inside): ReactNode {
  if (inside === "closed") return "This server lets only people with a token in."
  if (returning) return "You have left. Come back whenever you like."
  if (found === "no room")
    return "That link names no room, so here is a new one. Share its link once you are in."
  if (found === "nothing") return "A new room, all yours. Share its link once you are in."
  if (inside === null) return "Checking who is here…"
  if (inside === "unknown") return "You will see who is here once you are in."
  const { others, own } = inside
  const already = own && " You are here already."
  if (others.length === 0) return already ? `Nobody else is here yet.${already}` : "Nobody is here yet."
  return (
    <>
      <Names names={others} /> {others.length === 1 ? "is" : "are"} here.
      {already}
    </>
  )
}

function useInside(roomId: string): Inside {
  const [inside, setInside] = useState<Inside>(null)
  useEffect(() => {
    const given = new AbortController()
    setInside(null)
    ask(roomId, given.signal)
      .then(setInside)
      .catch(() => given.signal.aborted || setInside("unknown"))
    return () => given.abort()
  }, [roomId])
  return inside
}

interface Roster {
  users: { user_id: string; username: string }[]
}

/** Throws if the server does not answer. */
async function ask(roomId: string, signal: AbortSignal): Promise<Inside> {
  const answer = await fetch(new URL(`api/v1/rooms/${roomId}/roster`, document.baseURI), { signal })
  if (answer.status === 401) return "closed"
  if (!answer.ok) return "unknown"
  const { users } = (await answer.json()) as Roster
  const own = memory.userId.get()
  const others = users.filter(({ user_id }) => user_id !== own)
  return {
    others: others.map(({ username }) => face(username).name),
    own: others.length < users.length,
  }
}
