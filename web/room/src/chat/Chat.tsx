import type { ChatMessage } from "@studyroom/client"
import { useChat, useClient, useTyping } from "@studyroom/client/react"
import { useCallback, useEffect, useReducer, useRef, useState } from "react"
import { face } from "../face"
import { useVisible } from "../hooks"
import { Down } from "../icons"
import { Names } from "../Names"
import { useTexts } from "../texts"
import { Filled } from "../texts/Filled"
import { Composer, type ComposerHandle } from "./Composer"
import { Earlier } from "./Earlier"
import { keepAll } from "./kept"
import { Log } from "./Log"
import { firstNew, nothing, read, unread } from "./unread"
import { useEarlier } from "./use-earlier"

/** `name`: that of the room. */
export function Chat({ name }: { name: string }) {
  const client = useClient()
  const t = useTexts()
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
  useTitle(name, waiting)
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
    <section className="chat panel" aria-label={t.chat}>
      <Log
        frame={frame}
        messages={messages}
        firstNew={firstNew(messages, reading)}
        toEnd={toEnd}
        onAtEnd={follow}
        onEdit={edit}
      >
        <Earlier {...earlier} empty={messages.length === 0} log={frame} />
        {holes && <p className="notice">{t.holes}</p>}
      </Log>
      <div className="below">
        <Typing />
        {!atEnd && (
          <button type="button" className="jump" onClick={() => toEnd.current()}>
            <Down />
            {waiting === 0 ? t.toNewest : t.newMessages(waiting)}
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
  const t = useTexts()
  return (
    <p className="typing dim">
      {names.length > 0 && (
        <Filled text={t.typing(names.length)} values={{ names: <Names names={names} /> }} />
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
