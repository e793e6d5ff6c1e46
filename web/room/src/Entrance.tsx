import { type FormEvent, type ReactNode, useEffect, useRef, useState } from "react"
import { type Invitation, roomName } from "./address"
import { face } from "./face"
import { memory } from "./memory"
import { Names } from "./Names"
import { faultOf } from "./own-name"
import { RecentRooms } from "./rooms/RecentRooms"
import { rememberedName } from "./rooms/recent"
import { ThemeButton } from "./ThemeButton"
import { useTexts } from "./texts"
import { Filled } from "./texts/Filled"

const EMOJI = ["🦊", "🐢", "🦉", "🐝", "🐙", "🦋", "🌵", "🍄"]

interface Props {
  invitation: Invitation
  /** Whether the user was in the room a moment ago. */
  returning: boolean
  onEnter: () => void
}

export function Entrance({ invitation, returning, onEnter }: Props) {
  const t = useTexts()
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
        <h1 dir="auto">
          {invitation.name ?? rememberedName(invitation.roomId) ?? roomName(invitation.roomId)}
        </h1>
        <p className="dim introduction" role="status">
          <Introduction invitation={invitation} returning={returning} inside={inside} />
        </p>
        <label htmlFor="name">{t.yourName}</label>
        <input
          ref={field}
          id="name"
          dir="auto"
          value={name}
          autoComplete="nickname"
          placeholder={t.nameHint}
          required
          aria-invalid={fault !== null}
          aria-describedby="name-fault"
          onChange={(event) => change(event.target.value)}
        />
        <p id="name-fault" className="fault" role="alert">
          {fault}
        </p>
        <fieldset className="signs">
          <legend>{t.yourSign}</legend>
          {["", ...EMOJI].map((sign) => (
            <label key={sign}>
              <input
                type="radio"
                name="emoji"
                checked={emoji === sign}
                aria-label={sign || t.initials}
                onChange={() => setEmoji(sign)}
              />
              <span aria-hidden="true">{sign || face(name || "A").sign}</span>
            </label>
          ))}
        </fieldset>
        <button type="submit" className="primary" disabled={inside === "closed"}>
          {t.enter}
        </button>
        {known && (
          <button type="button" onClick={becomeSomeoneElse}>
            {t.someoneElse}
          </button>
        )}
      </form>
      <RecentRooms key={String(known)} roomId={invitation.roomId} />
      <ThemeButton />
    </main>
  )
}

/**
 * The names of other members and whether the user is one too, "closed" if the server admits no guests, or "unknown" if it did not answer. Null while the page
 * waits for the answer.
 */
type Inside = { others: readonly string[]; own: boolean } | "closed" | "unknown" | null

interface IntroductionProps {
  invitation: Invitation
  returning: boolean
  inside: Inside
}

function Introduction({ invitation: { found }, returning, inside }: IntroductionProps): ReactNode {
  const t = useTexts()
  if (inside === "closed") return t.onlyWithToken
  if (returning) return t.youHaveLeft
  if (found === "no room") return t.linkWithoutRoom
  if (found === "nothing") return t.newRoom
  if (inside === null) return t.checking
  if (inside === "unknown") return t.unknownWho
  const { others, own } = inside
  const already = own && ` ${t.hereAlready}`
  if (others.length === 0) return already ? `${t.nobodyElse}${already}` : t.nobody
  return (
    <>
      <Filled text={t.areHere(others.length)} values={{ names: <Names names={others} /> }} />
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
