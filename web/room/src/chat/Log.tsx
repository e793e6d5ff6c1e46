import type { ChatMessage } from "@studyroom/client"
import {
  Fragment,
  type ReactNode,
  type RefObject,
  useCallback,
  useEffect,
  useLayoutEffect,
  useRef,
} from "react"
import { Line } from "./Line"

const NEAR_END_PX = 40
/** Messages of one author within this time stand under one name. */
const TOGETHER_SECONDS = 300

interface Props {
  messages: readonly ChatMessage[]
  /** The id of the message above which the line "new" stands. */
  firstNew: string | undefined
  /** Is set to what scrolls to the newest message. */
  toEnd: RefObject<() => void>
  onAtEnd: (atEnd: boolean) => void
  onEdit: (message: ChatMessage) => void
  /** What stands above the first message. */
  children: ReactNode
}

export function Log({ messages, firstNew, toEnd, onAtEnd, onEdit, children }: Props) {
  const frame = useRef<HTMLDivElement>(null)
  const following = useRef(true)

  const scrolled = () => {
    const { scrollHeight, scrollTop, clientHeight } = frame.current as HTMLDivElement
    following.current = scrollHeight - scrollTop - clientHeight < NEAR_END_PX
    onAtEnd(following.current)
  }
  const follow = useCallback(() => {
    if (frame.current && following.current) frame.current.scrollTop = frame.current.scrollHeight
  }, [])
  useEffect(() => {
    toEnd.current = () => {
      following.current = true
      follow()
    }
  }, [toEnd, follow])
  // biome-ignore lint/correctness/useExhaustiveDependencies: the list is longer now
  useLayoutEffect(follow, [follow, messages])
  useEffect(() => {
    // A keyboard that comes up on a phone takes from the height.
    const sizes = new ResizeObserver(follow)
    sizes.observe(frame.current as HTMLDivElement)
    return () => sizes.disconnect()
  }, [follow])

  return (
    <div
      ref={frame}
      className="log"
      role="log"
      aria-label="Messages"
      aria-live="off"
      // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
      tabIndex={0}
      onScroll={scrolled}
    >
      {children}
      {messages.length === 0 && <p className="empty dim">Nothing has been said yet. Say hello!</p>}
      <ol>
        {messages.map((message, index) => {
          const before = messages[index - 1]
          const day = newDay(before, message)
          const marked = message.id === firstNew
          return (
            <Fragment key={message.id}>
              {day && <li className="day">{day}</li>}
              {marked && <li className="new">New</li>}
              <Line
                message={message}
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

function continues(before: ChatMessage | undefined, message: ChatMessage): boolean {
  if (before?.userId !== message.userId || before.username !== message.username) return false
  if (before.timestamp === null || message.timestamp === null) return true
  return message.timestamp - before.timestamp < TOGETHER_SECONDS
}

/** What stands above the first message of a day; of today only when there are older ones. */
function newDay(before: ChatMessage | undefined, { timestamp }: ChatMessage): string | undefined {
  if (timestamp === null) return undefined
  const day = new Date(timestamp * 1000).toDateString()
  const earlier = typeof before?.timestamp === "number" ? new Date(before.timestamp * 1000) : new Date()
  if (day === earlier.toDateString()) return undefined
  return new Date(timestamp * 1000).toLocaleDateString([], { weekday: "long", day: "numeric", month: "long" })
}
