import type { Member } from "@studyroom/client"
import { useOthers, useSelf } from "@studyroom/client/react"
import { memo } from "react"
import { Avatar } from "./Avatar"
import { face } from "./face"
import { useOtherTabs, usePlaces } from "./hooks"
import { PlaceIcon } from "./icons"
import { type Place, placeOf } from "./places"

/** The most members in the list besides the user. The page only counts further ones. */
const MOST_SHOWN = 100

interface Props {
  /** The user's place. */
  seat: Place | null
}

export function People({ seat }: Props) {
  const self = useSelf()
  const others = useOthers()
  const places = usePlaces()
  const you = useOtherTabs() > 0 ? "you, also in another tab" : "you"
  const count = others.length + (self ? 1 : 0)
  const hidden = others.length - MOST_SHOWN
  return (
    <aside className="people" aria-labelledby="people-count">
      <h2 id="people-count">{count === 1 ? "1 person" : `${count} people`}</h2>
      {/* The list scrolls, so it must be reached by keyboard. */}
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: see above */}
      <ul aria-label="People" tabIndex={0}>
        {self && <Person member={self} place={seat ?? undefined} note={you} />}
        {others.slice(0, MOST_SHOWN).map((member) => (
          <Person key={member.userId} member={member} place={placeOf(places.get(member.userId))} />
        ))}
        {hidden > 0 && <li className="dim">and {hidden} more</li>}
      </ul>
    </aside>
  )
}

interface PersonProps {
  member: Member
  place: Place | undefined
  /** The words after the name. */
  note?: string
}

const Person = memo(function Person({ member, place, note }: PersonProps) {
  return (
    <li>
      <Avatar {...member} />
      <span className="who">
        <span className="name">
          <bdi>{face(member.username).name}</bdi>
          {note && <span className="dim"> ({note})</span>}
        </span>
        {place && (
          <span className="place dim">
            <PlaceIcon id={place.id} />
            {place.name}
          </span>
        )}
      </span>
    </li>
  )
})
