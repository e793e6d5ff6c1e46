import { useOthers, useSelf } from "@studyroom/client/react"
import { Avatar } from "../Avatar"
import { usePlaces } from "../hooks"
import type { Place } from "../places"
import { useTexts } from "../texts"

/** The most faces in a place, on a large board and on a small one. Further ones are only counted. */
const MOST_LARGE = 12
const MOST_SMALL = 4

/** The faces of the members in a place, with the user first. `own`: whether the user sits there. */
export function Seated({ place, own }: { place: Place; own: boolean }) {
  const t = useTexts()
  const self = useSelf()
  const places = usePlaces()
  const others = useOthers((members) => members.filter(({ userId }) => places.get(userId) === place.id))
  const seated = own && self ? [self, ...others] : others
  if (seated.length === 0) return null
  const count = seated.length
  return (
    <span className="faces">
      <span className="unseen">{t.peopleCount(count)}</span>
      {seated.slice(0, MOST_LARGE).map(({ userId, username }) => (
        <Avatar key={userId} userId={userId} username={username} />
      ))}
      <Rest className="beyond-large" count={count - MOST_LARGE} />
      <Rest className="beyond-small" count={count - MOST_SMALL} />
    </span>
  )
}

/** It is a decoration, because the number of all is beside it. */
function Rest({ className, count }: { className: string; count: number }) {
  if (count <= 0) return null
  return (
    <span className={className} aria-hidden="true">
      +{count}
    </span>
  )
}
