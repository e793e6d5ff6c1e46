import { useClient, useConnection, useReadable } from "@studyroom/client/react"
import { useEffect, useMemo, useRef, useState } from "react"
import { Door, Link } from "./icons"
import { status } from "./status"
import { ThemeButton } from "./ThemeButton"

interface Props {
  name: string
  link: string
  onLeave: () => void
}

export function TopBar({ name, link, onLeave }: Props) {
  return (
    <header className="top">
      <h1>{name}</h1>
      <Connection />
      <Invite link={link} />
      <ThemeButton />
      <button type="button" className="quiet" onClick={onLeave}>
        <Door />
        <span className="wide">Leave</span>
      </button>
    </header>
  )
}

function Connection() {
  const client = useClient()
  const connection = useConnection()
  const room = useReadable(client.room)
  const [before, setBefore] = useState(false)
  useEffect(() => {
    if (room.status === "joined") setBefore(true)
  }, [room])
  const { light, text, remedy } = useMemo(
    () => status(connection, room, before, Date.now()),
    [connection, room, before],
  )
  const mend = () => {
    if (remedy === "connect") client.connect()
    else if (room.status !== "none") client.join(room.roomId)
  }
  return (
    <div className="connection">
      <output data-light={light}>{text}</output>
      {remedy && (
        <button type="button" onClick={mend}>
          {remedy === "connect" ? "Connect again" : "Try again"}
        </button>
      )}
    </div>
  )
}

/** The link stands there to be read, too: where a page may not write to the clipboard it can be copied by hand. */
function Invite({ link }: { link: string }) {
  const [copied, setCopied] = useState(false)
  const field = useRef<HTMLInputElement>(null)
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(link)
      setCopied(true)
    } catch {
      field.current?.select()
    }
  }
  useEffect(() => {
    if (!copied) return
    const timer = setTimeout(() => setCopied(false), 2000)
    return () => clearTimeout(timer)
  }, [copied])
  return (
    <div className="invite">
      <input
        ref={field}
        readOnly
        value={link}
        aria-label="Link to this room"
        onFocus={(event) => event.target.select()}
      />
      <button type="button" onClick={copy}>
        <Link />
        <span className="wide" aria-live="polite">
          {copied ? "Copied" : "Copy link"}
        </span>
      </button>
    </div>
  )
}
