import type { ChatMessage } from "@studyroom/client"
import { useChat, useClient, useTyping } from "@studyroom/client/react"
import { useCallback, useEffect, useReducer, useRef, useState } from "react"
import { roomName } from "../address"
import { face } from "../face"
import { useVisible } from "../hooks"
import { Down } from "../icons"
import { Names } from "../Names"
import { Composer, type ComposerHandle } from "./Composer"
import { Earlier } from "./Earlier"
import { keepAll } from "./kept"
import { Log } from "./Log"
import { firstNew, nothing, read, unread } from "./unread"
import { useEarlier } from "./use-earlier"

export function Chat({ roomId }: { roomId: string }) {
  const client = useClient()
  const { messages } = useChat()
  const [atEnd, setAtEnd] = useState(true)
  const earlier = useEarlier()
  const [holes, setHoles] = useState(false)
  const [reading, dispatch] = useReducer(read, nothing)
  const frame = useRef<HTMLDivElement>(null)
  const composer = useRef<ComposerHandle>(null)
  const toEnd = useRef<() => void>(() => {})
  const visible = useVisible()
  const attentive = visible && atEnd
  const last = lastPosition(messages)
  const waiting = unread(messages, reading)

  useEffect(() => {
    if (attentive) dispatch({ type: "looked", last })
  }, [attentive, last])
  useEffect(() => {
    if (!attentive) dispatch({ type: "looked away" })
  }, [attentive])
  useEffect(
    () =>
      client.on("historyReset", () => {
        dispatch({ type: "positions are void" })
        setHoles(true)
      }),
    [client],
  )
  useEffect(() => () => keepAll(false), [])
  useTitle(roomName(roomId), waiting)
  useEffect(() => {
    // On a phone, focus would bring up the keyboard before the user wants to write.
    if (!matchMedia("(pointer: coarse)").matches) composer.current?.focus()
  }, [])

  const follow = useCallback((isAtEnd: boolean) => {
    keepAll(!isAtEnd)
    setAtEnd(isAtEnd)
  }, [])
  const edit = useCallback((message: ChatMessage) => composer.current?.edit(message), [])
  const sent = () => {
    dispatch({ type: "answered" })
    toEnd.current()
  }

  return (
    <section className="chat panel" aria-label="Chat">
      <Log
        frame={frame}
        messages={messages}
        firstNew={firstNew(messages, reading)}
        toEnd={toEnd}
        onAtEnd={follow}
        onEdit={edit}
      >
        <Earlier {...earlier} empty={messages.length === 0} log={frame} />
        {holes && <p className="notice">Some messages could not be recovered.</p>}
      </Log>
      <div className="below">
        <Typing />
        {!atEnd && (
          <button type="button" className="jump" onClick={() => toEnd.current()}>
            <Down />
            {waiting === 0 ? "To the newest" : waiting === 1 ? "1 new message" : `${waiting} new messages`}
          </button>
        )}
      </div>
      <Composer handle={composer} onSent={sent} />
    </section>
  )
}

/** The names of members that are typing. The line is always there, so that nothing moves when somebody begins. */
function Typing() {
  const names = useTyping().map(({ username }) => face(username).name)
  const verb = names.length === 1 ? "is" : "are"
  return (
    <p className="typing dim">
      {names.length > 0 && (
        <>
          <Names names={names} /> {verb} typing…
        </>
      )}
    </p>
  )
}

function useTitle(name: string, waiting: number): void {
  useEffect(() => {
    document.title = `${waiting ? `(${waiting}) ` : ""}${name} – Studyroom`
    return () => {
      document.title = "Studyroom"
    }
  }, [name, waiting])
}

function lastPosition(messages: readonly ChatMessage[]): number | null {
  for (let index = messages.length - 1; index >= 0; index--) {
    const seq = messages[index]?.seq ?? null
    if (seq !== null) return seq
  }
  return null
}
