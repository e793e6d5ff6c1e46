import type { Member } from "@studyroom/client"
import { useClient } from "@studyroom/client/react"
import { useEffect, useRef } from "react"
import { handOf } from "./desk/shown"
import { face } from "./face"
import { filled, texts, useTexts } from "./texts"

const KEPT = 20

/**
 * Reports to screen readers what happens: members that come and go, and messages of others. It omits history and the
 * user's own messages. It works outside of React, because nothing else reads the list.
 */
export function Announcer() {
  const client = useClient()
  const t = useTexts()
  const list = useRef<HTMLElement>(null)
  useEffect(() => {
    const say = (text: string) => {
      const line = document.createElement("p")
      line.dir = "auto"
      line.textContent = text
      list.current?.append(line)
      while ((list.current?.childElementCount ?? 0) > KEPT) list.current?.firstChild?.remove()
    }
    let raised = hands(client.others.get())
    const ends = [
      client.others.subscribe(() => {
        const now = hands(client.others.get())
        for (const [userId, username] of now)
          if (!raised.has(userId)) say(filled(texts().hasRaisedHand, { name: face(username).name }))
        raised = now
      }),
      client.on("userJoined", ({ member }) =>
        say(filled(texts().hasJoined, { name: face(member.username).name })),
      ),
      client.on("userLeft", ({ member }) =>
        say(filled(texts().hasLeft, { name: face(member.username).name })),
      ),
      client.on("chat", ({ message, live }) => {
        if (!live || message.own) return
        const [name, text] = [face(message.username).name, message.content]
        const isForUser = message.mentions?.includes(client.self.get()?.userId ?? "")
        say(isForUser ? filled(texts().hasMentioned, { name, text }) : `${name}: ${text}`)
      }),
      client.on("message", ({ message }) => {
        if (message.type !== "ChatReaction" || !message.payload.is_on) return
        const { target_seq, user_id, reaction } = message.payload
        const isOwn = client.messages.get().some(({ seq, own }) => own && seq === target_seq)
        const by = client.others.get().find(({ userId }) => userId === user_id)
        if (isOwn && by) say(filled(texts().hasReacted, { name: face(by.username).name, reaction }))
      }),
      client.on("chatFailed", ({ message }) => say(filled(texts().notSentText, { text: message.content }))),
    ]
    return () => {
      for (const end of ends) end()
    }
  }, [client])
  return <section ref={list} className="unseen" aria-live="polite" aria-label={t.whatHappens} />
}

/** The names of those with a raised hand, by user id. */
function hands(members: readonly Member[]): ReadonlyMap<string, string> {
  const raised = members.filter(({ presence }) => handOf(presence) !== null)
  return new Map(raised.map(({ userId, username }) => [userId, username]))
}
