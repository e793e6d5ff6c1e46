import { linkTo, roomName } from "../address"
import { useTexts } from "../texts"
import { recentRooms } from "./recent"

/** Links to the rooms that the user was in, besides this one. */
export function RecentRooms({ roomId }: { roomId: string }) {
  const t = useTexts()
  const rooms = recentRooms().filter((room) => room.roomId !== roomId)
  if (rooms.length === 0) return null
  return (
    <nav className="recent" aria-labelledby="recent-rooms">
      <h2 id="recent-rooms">{t.recentRooms}</h2>
      <ul>
        {rooms.map((room) => (
          <li key={room.roomId}>
            <a href={linkTo(room.roomId, room.name, new URL(location.href))}>
              <bdi>{room.name ?? roomName(room.roomId)}</bdi>
            </a>
          </li>
        ))}
      </ul>
    </nav>
  )
}
