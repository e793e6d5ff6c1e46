import { StudyroomClient } from "@studyroom/client"
import { withFallback } from "@studyroom/client/fallback"
import { livingChat } from "@studyroom/client/living-chat"
import { preload } from "@studyroom/client/preload"
import { useCallback, useEffect, useState } from "react"
import { type Invitation, invitation, linkTo } from "./address"
import { kept } from "./chat/kept"
import { watchOffer } from "./chat/living/offered"
import { keepTime } from "./clock"
import { Entrance } from "./Entrance"
import { memory } from "./memory"
import { watchAccount } from "./moderation/requests"
import { ownName } from "./own-name"
import { Room } from "./Room"

const QUIET_MS = 5000

/** Returns the room of the address. An address without a room becomes that of a new one. */
function arrive(): Invitation {
  const found = invitation(new URL(location.href))
  if (found.found !== "room") history.replaceState(null, "", linkOf(found))
  return found
}

function linkOf({ roomId, name }: Invitation): string {
  return linkTo(roomId, name, new URL(location.href))
}

function enter({ roomId }: Invitation): StudyroomClient {
  const client = new StudyroomClient({
    url: new URL("ws", document.baseURI),
    username: ownName(),
    identity: memory.guestToken,
    historyLimit: kept,
    WebSocket: withFallback(),
  })
  keepTime(client)
  watchAccount(client)
  watchOffer(client)
  livingChat(client) // before it connects, so that it misses nothing
  client.connection.subscribe(() => {
    const state = client.connection.get()
    if (state.status === "open") memory.userId.set(state.userId)
  })
  memory.room.set(roomId)
  client.join(roomId).then(loadTheRest, () => {})
  client.connect()
  return client
}

/**
 * Loads the other parts of the client in a quiet moment, so that neither a bad network nor a newer page on the server keeps
 * them away when they are needed. If that fails, the client tries again when it needs them.
 */
function loadTheRest(): void {
  setTimeout(() => preload().catch((error) => console.debug("not loaded", error)), QUIET_MS)
}

const first = arrive()

export function App() {
  const [invited, setInvited] = useState(first)
  const [client, setClient] = useState<StudyroomClient | null>(null)
  const [left, setLeft] = useState(false)

  // A reload goes straight back to the room. Only one of the two renders of development may connect, so this is an
  // effect.
  useEffect(() => {
    if (memory.room.get() !== first.roomId) return
    const entered = enter(first)
    setClient(entered)
    return () => entered.close()
  }, [])

  const exit = useCallback(
    (to: Invitation | null) => {
      client?.close()
      memory.room.set(null)
      memory.seat.set(null)
      setClient(null)
      // Meanwhile the room may have another name, which is in the address.
      setInvited(to ?? arrive())
      setLeft(to === null)
    },
    [client],
  )

  // The user may put another link into the address of this tab.
  useEffect(() => {
    const another = () => {
      const next = arrive()
      if (next.roomId !== invited.roomId) exit(next)
    }
    addEventListener("hashchange", another)
    another() // the link may have changed before there was a listener
    return () => removeEventListener("hashchange", another)
  }, [invited, exit])

  if (client) {
    return <Room client={client} invited={invited} onLeave={() => exit(null)} />
  }
  return <Entrance invitation={invited} returning={left} onEnter={() => setClient(enter(invited))} />
}
