import { type FormEvent, useEffect, useRef, useState } from "react"
import { type Invitation, roomName } from "./address"
import { face, inWords } from "./face"
import { memory } from "./memory"
import { ThemeButton } from "./ThemeButton"

const EMOJI = ["🦊", "🐢", "🦉", "🐝", "🐙", "🦋", "🌵", "🍄"]

interface Props {
  invitation: Invitation
  /** Somebody who was in the room a moment ago. */
  returning: boolean
  onEnter: () => void
}

export function Entrance({ invitation, returning, onEnter }: Props) {
  const [name, setName] = useState(memory.name.get() ?? "")
  const [emoji, setEmoji] = useState(memory.emoji.get() ?? "")
  const inside = useInside(invitation.roomId)
  const field = useRef<HTMLInputElement>(null)
  useEffect(() => field.current?.focus(), [])

  const enter = (event: FormEvent) => {
    event.preventDefault()
    memory.name.set(name.trim() || null)
    memory.emoji.set(emoji || null)
    onEnter()
  }

  return (
    <main className="entrance">
      <form className="panel" onSubmit={enter}>
        <p className="brand">Studyroom</p>
        <h1>{roomName(invitation.roomId)}</h1>
        <p className="dim">{introduction(invitation, returning, inside)}</p>
        <label htmlFor="name">Your name</label>
        <input
          ref={field}
          id="name"
          value={name}
          maxLength={60}
          autoComplete="nickname"
          placeholder="What shall the others call you?"
          required
          onChange={(event) => setName(event.target.value)}
        />
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
      </form>
      <ThemeButton />
    </main>
  )
}

/** Names of those who are in the room; "closed" where the server lets no guests in. Unknown as long as nobody says. */
type Inside = readonly string[] | "closed" | null

function introduction({ found }: Invitation, returning: boolean, inside: Inside): string {
  if (inside === "closed") return "This server lets only people with a token in."
  if (returning) return "You have left. Come back whenever you like."
  if (inside?.length) return `${inWords(inside)} ${inside.length === 1 ? "is" : "are"} here.`
  if (found === "no room")
    return "That link names no room, so here is a new one. Share its link once you are in."
  if (found === "nothing") return "A new room, all yours. Share its link once you are in."
  return "Nobody is here yet."
}

function useInside(roomId: string): Inside {
  const [inside, setInside] = useState<Inside>(null)
  useEffect(() => {
    const given = new AbortController()
    const ask = async () => {
      const address = new URL(`api/v1/rooms/${roomId}/roster`, document.baseURI)
      const answer = await fetch(address, { signal: given.signal })
      if (answer.status === 401) return setInside("closed")
      if (!answer.ok) return
      const { users } = (await answer.json()) as { users: { username: string }[] }
      setInside(users.map(({ username }) => face(username).name))
    }
    ask().catch(() => {}) // it is only nice to know
    return () => given.abort()
  }, [roomId])
  return inside
}
