import type { ChatMessage } from "@studyroom/client"
import { useChat, useClient, useTyping } from "@studyroom/client/react"
import { useCallback, useEffect, useReducer, useRef, useState } from "react"
import { roomName } from "../address"
import { face, inWords } from "../face"
import { useVisible } from "../hooks"
import { Down } from "../icons"
import { Composer, type ComposerHandle } from "./Composer"
import { useEarlier } from "./earlier"
import { Log } from "./Log"
import { firstNew, nothing, read, unread } from "./unread"

export function Chat({ roomId }: { roomId: string }) {
  const client = useClient()
  const { messages, discard } = useChat()
  const earlier = useEarlier(roomId, messages)
  const [atEnd, setAtEnd] = useState(true)
  const [holes, setHoles] = useState(false)
  const [reading, dispatch] = useReducer(read, nothing)
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
  useTitle(roomName(roomId), waiting)
  useEffect(() => {
    // On a phone it would bring up the keyboard before anybody wants to write.
    if (!matchMedia("(pointer: coarse)").matches) composer.current?.focus()
  }, [])

  const edit = useCallback(
    ({ id, content }: ChatMessage) => {
      discard(id)
      composer.current?.giveBack(content)
    },
    [discard],
  )
  const sent = () => {
    dispatch({ type: "answered" })
    toEnd.current()
  }

  return (
    <section className="chat panel" aria-label="Chat">
      <Log
        messages={earlier.all}
        firstNew={firstNew(messages, reading)}
        toEnd={toEnd}
        onAtEnd={setAtEnd}
        onEdit={edit}
      >
        {earlier.more && (
          <button type="button" className="earlier" disabled={earlier.busy} onClick={earlier.load}>
            Show earlier messages
          </button>
        )}
        {holes && <p className="notice">Some messages could not be recovered.</p>}
      </Log>
      {!atEnd && (
        <button type="button" className="jump" onClick={() => toEnd.current()}>
          <Down />
          {waiting === 0 ? "To the newest" : waiting === 1 ? "1 new message" : `${waiting} new messages`}
        </button>
      )}
      <Typing />
      <Composer handle={composer} onSent={sent} />
    </section>
  )
}

/** Its line is always there, so that nothing moves when somebody begins. */
function Typing() {
  const names = useTyping().map(({ username }) => face(username).name)
  const verb = names.length === 1 ? "is" : "are"
  return <p className="typing dim">{names.length > 0 && `${inWords(names)} ${verb} typing…`}</p>
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
