import type { ChatMessage } from "@studyroom/client"
import type { LivingMessage } from "@studyroom/client/living-chat"
import { useClient, useLivingChat, useTyping } from "@studyroom/client/react"
import { useCallback, useEffect, useMemo, useReducer, useRef, useState } from "react"
import { sentence } from "../codes"
import { face } from "../face"
import { useVisible } from "../hooks"
import { Down } from "../icons"
import { Names } from "../Names"
import { filled, useTexts } from "../texts"
import { Filled } from "../texts/Filled"
import { Composer, type ComposerHandle } from "./Composer"
import { Earlier } from "./Earlier"
import { keepAll } from "./kept"
import { Log } from "./Log"
import { type Conversation, CurrentConversation, newest } from "./living/conversation"
import { Deletion, failure } from "./living/Deletion"
import { Menu } from "./living/Menu"
import { useOffered } from "./living/offered"
import { useJump } from "./living/use-jump"
import { firstNew, nothing, read, unread } from "./unread"
import { useEarlier } from "./use-earlier"

/** The message whose menu is open, and the button that opened it. */
interface Opened {
  message: LivingMessage
  button: HTMLElement
}

/** `name`: that of the room. */
export function Chat({ name }: { name: string }) {
  const client = useClient()
  const t = useTexts()
  const { messages, react, remove } = useLivingChat()
  const offered = useOffered()
  const [atEnd, setAtEnd] = useState(true)
  const earlier = useEarlier()
  const [holes, setHoles] = useState(false)
  const [reading, dispatch] = useReducer(read, nothing)
  const frame = useRef<HTMLDivElement>(null)
  const composer = useRef<ComposerHandle>(null)
  const toEnd = useRef<() => void>(() => {})
  const [found, jump] = useJump(frame, messages, earlier.load)
  const [opened, setOpened] = useState<Opened | null>(null)
  const [deleting, setDeleting] = useState<LivingMessage | null>(null)
  const [fault, setFault] = useState<string | null>(null)
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
  const edit = useCallback((message: ChatMessage) => composer.current?.begin("failed", message), [])
  const close = useCallback(() => setOpened(null), [])
  const conversation = useMemo<Conversation>(
    () => ({
      offered,
      open: (message, button) => setOpened((now) => (now?.button === button ? null : { message, button })),
      react: async (message, reaction, isOn) => {
        setFault(null)
        const code = await failure(react(message, reaction, isOn))
        if (code !== null) setFault(code)
      },
      jump,
    }),
    [offered, react, jump],
  )
  const sent = () => {
    dispatch({ type: "answered" })
    setFault(null)
    toEnd.current()
  }
  const editLast = () => {
    const own = newest(messages, ({ own }) => own)
    if (offered && own) composer.current?.begin("edit", own)
  }
  // The message as it is now; a deleted one has no menu.
  const chosen = messages.find(({ id }) => id === opened?.message.id)

  return (
    <section className="chat panel" aria-label={t.chat}>
      <CurrentConversation value={conversation}>
        <Log
          frame={frame}
          messages={messages}
          mayBeEarlier={earlier.more !== "no"}
          found={found}
          firstNew={firstNew(messages, reading)}
          toEnd={toEnd}
          onAtEnd={follow}
          onEdit={edit}
          onLeave={() => composer.current?.focus()}
        >
          <Earlier {...earlier} empty={messages.length === 0} log={frame} />
          {holes && <p className="notice">{t.holes}</p>}
        </Log>
      </CurrentConversation>
      {opened && chosen && (
        <Menu
          message={chosen}
          label={chosen.own ? t.actionsForOwn : filled(t.actionsFor, { name: face(chosen.username).name })}
          anchor={opened.button}
          onReact={(reaction, isOn) => conversation.react(chosen, reaction, isOn)}
          onReply={() => composer.current?.begin("reply", chosen)}
          onEdit={() => composer.current?.begin("edit", chosen)}
          onDelete={() => setDeleting(chosen)}
          onClose={close}
        />
      )}
      <Deletion message={deleting} remove={remove} onClose={() => setDeleting(null)} />
      <div className="below">
        <Typing />
        {!atEnd && (
          <button type="button" className="jump" onClick={() => toEnd.current()}>
            <Down />
            {waiting === 0 ? t.toNewest : t.newMessages(waiting)}
          </button>
        )}
      </div>
      {fault !== null && (
        <p className="fault of-change" role="alert">
          {t.notChanged({ reason: sentence(fault) })}
        </p>
      )}
      <Composer handle={composer} onSent={sent} onEditLast={editLast} />
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
