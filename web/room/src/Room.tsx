import type { StudyroomClient } from "@studyroom/client"
import { StudyroomProvider } from "@studyroom/client/react"
import { useEffect, useState } from "react"
import { Announcer } from "./Announcer"
import { type Invitation, linkTo, roomName } from "./address"
import { Alerts } from "./alerts/Alerts"
import { Board } from "./board/Board"
import { Chat } from "./chat/Chat"
import { memory } from "./memory"
import { Moderated } from "./moderation/Moderation"
import { NotesPlace } from "./notes/NotesPlace"
import { useNotesSwitch } from "./notes/open"
import { useNameOfOtherTabs } from "./own-name"
import { People } from "./People"
import { type Place, placeOf, spotIn } from "./places"
import { useName } from "./rooms/use-name"
import { TopBar } from "./TopBar"

interface Props {
  client: StudyroomClient
  invited: Invitation
  onLeave: () => void
}

export function Room({ client, ...props }: Props) {
  const [seat, sit] = useSeat(client)
  useNameOfOtherTabs(client)
  return (
    <StudyroomProvider client={client}>
      <div className="room">
        <Inside seat={seat} onSit={sit} {...props} />
      </div>
    </StudyroomProvider>
  )
}

interface InsideProps extends Omit<Props, "client"> {
  seat: Place | null
  onSit: (place: Place | null) => void
}

function Inside({ invited, onLeave, seat, onSit }: InsideProps) {
  const { roomId } = invited
  const [given, rename] = useName(roomId, invited.name)
  const name = given ?? roomName(roomId)
  const link = linkTo(roomId, given, new URL(location.href))
  const notes = useNotesSwitch()
  return (
    <Moderated roomId={roomId}>
      <TopBar name={name} link={link} onRename={rename} onLeave={onLeave} />
      <People seat={seat} notes={notes} />
      <main>
        <Board seat={seat} onSit={onSit} />
        {notes.open && <NotesPlace roomId={roomId} onClose={() => notes.show(false)} />}
        <Chat name={name} />
      </main>
      <Announcer />
      <Alerts />
    </Moderated>
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
