import { StudyroomClient } from "@studyroom/client"
import { useEffect, useState } from "react"
import { invitation, linkTo } from "./address"
import { Entrance } from "./Entrance"
import { named } from "./face"
import { memory } from "./memory"
import { Room } from "./Room"

const invited = invitation(new URL(location.href))
const link = linkTo(invited.roomId, new URL(location.href))
if (invited.found !== "room") history.replaceState(null, "", link)

function enter(): StudyroomClient {
  const client = new StudyroomClient({
    url: new URL("ws", document.baseURI),
    username: named(memory.name.get() ?? "", memory.emoji.get() ?? ""),
    identity: memory.guestToken,
  })
  memory.room.set(invited.roomId)
  client.join(invited.roomId)
  client.connect()
  return client
}

export function App() {
  const [client, setClient] = useState<StudyroomClient | null>(null)
  const [left, setLeft] = useState(false)

  // A reload goes straight back; an effect, since only one of two renders of development may connect.
  useEffect(() => {
    if (memory.room.get() !== invited.roomId) return
    const entered = enter()
    setClient(entered)
    return () => entered.close()
  }, [])

  useEffect(() => {
    const another = () => location.reload()
    addEventListener("hashchange", another)
    return () => removeEventListener("hashchange", another)
  }, [])

  const leave = () => {
    client?.close()
    memory.room.set(null)
    setClient(null)
    setLeft(true)
  }

  if (client) return <Room client={client} roomId={invited.roomId} link={link} onLeave={leave} />
  return <Entrance invitation={invited} returning={left} onEnter={() => setClient(enter())} />
}
