import type { StudyroomClient } from "@studyroom/client"
import { StudyroomProvider } from "@studyroom/client/react"
import { useEffect, useState } from "react"
import { Announcer } from "./Announcer"
import { roomName } from "./address"
import { Board } from "./board/Board"
import { Chat } from "./chat/Chat"
import { memory } from "./memory"
import { People } from "./People"
import { type Place, placeOf, spotIn } from "./places"
import { TopBar } from "./TopBar"

interface Props {
  client: StudyroomClient
  roomId: string
  link: string
  onLeave: () => void
}

export function Room({ client, roomId, link, onLeave }: Props) {
  const [seat, sit] = useSeat(client)
  return (
    <StudyroomProvider client={client}>
      <div className="room">
        <TopBar name={roomName(roomId)} link={link} onLeave={onLeave} />
        <People seat={seat} />
        <main>
          <Board seat={seat} onSit={sit} />
          <Chat roomId={roomId} />
        </main>
        <Announcer />
      </div>
    </StudyroomProvider>
  )
}

/** The user's place. It is sent with every move of the cursor, and again after every join. */
function useSeat(client: StudyroomClient): [Place | null, (place: Place | null) => void] {
  const [seat, setSeat] = useState<Place | null>(() => placeOf(memory.seat.get()) ?? null)
  useEffect(() => {
    if (!seat) return
    return client.on("joined", () => {
      const { x, y } = spotIn(seat, client.self.get()?.userId ?? "")
      client.moveCursor(x, y, seat.id)
    })
  }, [client, seat])
  const sit = (place: Place | null) => {
    memory.seat.set(place?.id ?? null)
    setSeat(place)
  }
  return [seat, sit]
}
