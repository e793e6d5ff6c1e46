import { useClient } from "@studyroom/client/react"
import { useEffect, useRef } from "react"
import { face } from "./face"

const KEPT = 20

/**
 * Reports to screen readers what happens: members that come and go, and messages of others. It omits history and the
 * user's own messages. It works outside of React, because nothing else reads the list.
 */
export function Announcer() {
  const client = useClient()
  const list = useRef<HTMLElement>(null)
  useEffect(() => {
    const say = (text: string) => {
      const line = document.createElement("p")
      line.dir = "auto"
      line.textContent = text
      list.current?.append(line)
      while ((list.current?.childElementCount ?? 0) > KEPT) list.current?.firstChild?.remove()
    }
    const ends = [
      client.on("userJoined", ({ member }) => say(`${face(member.username).name} joined`)),
      client.on("userLeft", ({ member }) => say(`${face(member.username).name} left`)),
      client.on("chat", ({ message, live }) => {
        if (live && !message.own) say(`${face(message.username).name}: ${message.content}`)
      }),
      client.on("chatFailed", ({ message }) => say(`Not sent: ${message.content}`)),
    ]
    return () => {
      for (const end of ends) end()
    }
  }, [client])
  return <section ref={list} className="unseen" aria-live="polite" aria-label="What happens" />
}
