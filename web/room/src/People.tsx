import type { Member, Presence } from "@studyroom/client"
import { useMyPresence, useOthers, useSelf } from "@studyroom/client/react"
import { memo } from "react"
import { Avatar } from "./Avatar"
import { handOf, handsFirst, statusOf } from "./desk/shown"
import { Tools } from "./desk/Tools"
import { face } from "./face"
import { useOtherTabs, usePlaces } from "./hooks"
import { Hand, More, PlaceIcon } from "./icons"
import { useModeration } from "./moderation/Moderation"
import type { NotesSwitch } from "./notes/open"
import { type Place, placeOf } from "./places"
import { filled, useTexts } from "./texts"

/** The most members in the list besides the user. The page only counts further ones. */
const MOST_SHOWN = 100

interface Props {
  /** The user's place. */
  seat: Place | null
  notes: NotesSwitch
}

export function People({ seat, notes }: Props) {
  const t = useTexts()
  const self = useSelf()
  const others = useOthers(handsFirst)
  const [presence] = useMyPresence()
  const places = usePlaces()
  const you = useOtherTabs() > 0 ? t.youTwice : t.you
  const count = others.length + (self ? 1 : 0)
  const hidden = others.length - MOST_SHOWN
  return (
    <aside className="people" aria-labelledby="people-count">
      <h2 id="people-count">{t.peopleCount(count)}</h2>
      {/* The list scrolls, so it must be reached by keyboard. */}
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: see above */}
      <ul aria-label={t.people} tabIndex={0}>
        {self && <Person member={self} presence={presence} place={seat ?? undefined} note={you} />}
        {others.slice(0, MOST_SHOWN).map((member) => (
          <Person
            key={member.userId}
            member={member}
            presence={member.presence}
            place={placeOf(places.get(member.userId))}
          />
        ))}
        {hidden > 0 && <li className="dim">{t.more({ count: hidden })}</li>}
      </ul>
      <Tools notes={notes} />
    </aside>
  )
}

interface PersonProps {
  member: Member
  /** For the user, it has changes that are not stored yet. */
  presence: Presence
  place: Place | undefined
  /** The words after the name. */
  note?: string
}

const Person = memo(function Person({ member, presence, place, note }: PersonProps) {
  const t = useTexts()
  const status = statusOf(presence)
  const moderation = useModeration()
  return (
    <li>
      <Avatar {...member} />
      <span className="who">
        <span className="name">
          <bdi>{face(member.username).name}</bdi>
          {note && <span className="dim"> ({note})</span>}
        </span>
        {(place || status) && (
          <span className="place dim">
            {place && <PlaceIcon id={place.id} />}
            {status === null ? (
              place && <span>{t[place.name]}</span>
            ) : (
              <>
                {place && <span className="unseen">{t[place.name]}: </span>}
                <bdi title={status}>{status}</bdi>
              </>
            )}
          </span>
        )}
      </span>
      {moderation && note === undefined && (
        <button
          type="button"
          className="quiet icon more"
          aria-haspopup="dialog"
          aria-label={filled(t.moderate, { name: face(member.username).name })}
          onClick={() => moderation.member(member)}
        >
          <More />
        </button>
      )}
      {handOf(presence) !== null && (
        <span className="raised" role="img" aria-label={t.handRaised}>
          <Hand />
        </span>
      )}
    </li>
  )
})
