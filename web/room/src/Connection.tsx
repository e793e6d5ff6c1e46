import { useClient, useConnection, useReadable } from "@studyroom/client/react"
import { useEffect, useReducer, useState } from "react"
import { status } from "./status"
import { useTexts } from "./texts"

const COUNT_MS = 250
/** The state of the connection, and a button where the user can do something about it. */
export function Connection() {
  const client = useClient()
  const t = useTexts()
  const labels = { now: t.tryNow, connect: t.connectAgain, join: t.tryAgain }
  const connection = useConnection()
  const room = useReadable(client.room)
  const [before, setBefore] = useState(false)
  useEffect(() => {
    if (room.status === "joined") setBefore(true)
  }, [room])
  useRepeated(connection.status === "waiting")
  const { light, text, seconds, remedy } = status(connection, room, before, Date.now())

  const act = () => {
    if (remedy === "join" && room.status !== "none") return client.join(room.roomId)
    if (remedy === "now") client.close() // ends the wait
    client.connect()
  }
  return (
    <div className="connection" data-light={light} data-remedy={remedy}>
      <output>
        {text}
        {/* The number changes every second, so screen readers skip it. */}
        {seconds !== undefined && <span aria-hidden="true"> {t.inSeconds({ seconds })}</span>}
      </output>
      {remedy && (
        <button type="button" onClick={act}>
          {labels[remedy]}
        </button>
      )}
    </div>
  )
}

/** Renders the component again and again, because it shows the time. */
function useRepeated(on: boolean): void {
  const [, repeat] = useReducer((count: number) => count + 1, 0)
  useEffect(() => {
    if (!on) return
    const timer = setInterval(repeat, COUNT_MS)
    return () => clearInterval(timer)
  }, [on])
}
