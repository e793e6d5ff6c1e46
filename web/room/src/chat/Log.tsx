import type { ChatMessage } from "@studyroom/client"
import type { LivingMessage } from "@studyroom/client/living-chat"
import { useSelf } from "@studyroom/client/react"
import {
  Fragment,
  type ReactNode,
  type RefObject,
  useCallback,
  useEffect,
  useLayoutEffect,
  useMemo,
  useRef,
  useState,
} from "react"
import { dateLocale, useTexts } from "../texts"
import { Line } from "./Line"
import { newest } from "./living/conversation"
import { step } from "./living/stops"
import { ReadingPlace } from "./reading-place"

const NEAR_END_PX = 40
/** Messages of one author within this time share one name. */
const TOGETHER_SECONDS = 300

interface Props {
  frame: RefObject<HTMLDivElement | null>
  messages: readonly LivingMessage[]
  /** Whether there may be messages before them. */
  mayBeEarlier: boolean
  /** The id of the message that a press on a quote has led to, for a moment. */
  found: string | null
  /** The id of the message below the line "New". */
  firstNew: string | undefined
  /** The log sets it to a function that scrolls to the newest message. */
  toEnd: RefObject<() => void>
  onAtEnd: (atEnd: boolean) => void
  onEdit: (message: ChatMessage) => void
  /** The user goes from a message back to writing. */
  onLeave: () => void
  /** The content above the first message. */
  children: ReactNode
}

export function Log(props: Props) {
  const { frame, messages, mayBeEarlier, found, firstNew, toEnd, onAtEnd, onEdit, onLeave, children } = props
  const t = useTexts()
  const userId = useSelf()?.userId
  const byId = useMemo(() => new Map(messages.map((message) => [message.id, message])), [messages])
  const [visited, setVisited] = useState<string>()
  const stop = visited !== undefined && byId.has(visited) ? visited : newest(messages)?.id
  const following = useRef(true)
  const place = useRef<ReadingPlace>(null)
  const size = useRef("")
  const list = useRef<HTMLOListElement>(null)

  const scrolled = () => {
    // Another size of the window scrolls too, and the reader did not.
    if (sizeOf(frame.current) !== size.current) return settle()
    following.current = (place.current as ReadingPlace).toEnd < NEAR_END_PX
    place.current?.remember()
    onAtEnd(following.current)
  }
  const settle = useCallback(() => {
    if (!frame.current) return
    place.current ??= new ReadingPlace(frame.current)
    // The browser reports a scroll with the next frame. The list may change before.
    if (sizeOf(frame.current) === size.current && place.current.scrolledUp) following.current = false
    size.current = sizeOf(frame.current)
    if (following.current) frame.current.scrollTop = frame.current.scrollHeight
    else place.current.restore()
    place.current.remember()
  }, [frame])
  useEffect(() => {
    toEnd.current = () => {
      following.current = true
      settle()
    }
  }, [toEnd, settle])
  // biome-ignore lint/correctness/useExhaustiveDependencies: the list has changed
  useLayoutEffect(settle, [settle, messages, children])
  useEffect(() => {
    // A keyboard that comes up on a phone reduces the height. Maths is drawn later, and higher than its source.
    const sizes = new ResizeObserver(settle)
    sizes.observe(frame.current as HTMLDivElement)
    sizes.observe(list.current as HTMLOListElement)
    return () => sizes.disconnect()
  }, [frame, settle])

  return (
    <div
      ref={frame}
      className="log"
      role="log"
      aria-label={t.messages}
      aria-live="off"
      // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
      tabIndex={0}
      onScroll={scrolled}
    >
      {children}
      <ol
        ref={list}
        onKeyDown={(event) => step(event, onLeave)}
        onFocus={({ target }) => setVisited(idOf(target))}
      >
        {messages.map((message, index) => {
          const before = messages[index - 1]
          const day = newDay(before, message)
          const marked = message.id === firstNew
          return (
            <Fragment key={message.id}>
              {day && <li className="day">{day}</li>}
              {marked && <li className="new">{t.newMark}</li>}
              <Line
                message={message}
                quoted={message.replyTo === null ? undefined : byId.get(message.replyTo)}
                mayBeEarlier={mayBeEarlier}
                forUser={userId !== undefined && !message.own && message.mentioned.includes(userId)}
                found={message.id === found}
                isStop={message.id === stop}
                continued={!day && !marked && continues(before, message)}
                onEdit={onEdit}
              />
            </Fragment>
          )
        })}
      </ol>
    </div>
  )
}

/** The id of the message that this element is in. */
function idOf(element: Element): string | undefined {
  return element.closest<HTMLElement>(".line")?.dataset.id
}

function sizeOf(frame: HTMLElement | null): string {
  return `${frame?.clientWidth} x ${frame?.clientHeight}`
}

function continues(before: ChatMessage | undefined, message: ChatMessage): boolean {
  if (before?.userId !== message.userId || before.username !== message.username) return false
  if (before.timestamp === null || message.timestamp === null) return true
  return message.timestamp - before.timestamp < TOGETHER_SECONDS
}

/** The heading above the first message of a day. The first message in the list has none if it is of today. */
function newDay(before: ChatMessage | undefined, { timestamp }: ChatMessage): string | undefined {
  if (timestamp === null) return undefined
  const day = new Date(timestamp * 1000).toDateString()
  const earlier = typeof before?.timestamp === "number" ? new Date(before.timestamp * 1000) : new Date()
  if (day === earlier.toDateString()) return undefined
  return new Date(timestamp * 1000).toLocaleDateString(dateLocale(), {
    weekday: "long",
    day: "numeric",
    month: "long",
  })
}
