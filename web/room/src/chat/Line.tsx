import type { ChatMessage } from "@studyroom/client"
import { useClient } from "@studyroom/client/react"
import { memo } from "react"
import { Avatar, hued } from "../Avatar"
import { sentence } from "../codes"
import { face } from "../face"
import { withLinks } from "./links"

interface Props {
  message: ChatMessage
  /** Whether its author and time are above it already. */
  continued: boolean
  onEdit: (message: ChatMessage) => void
}

/** One message. */
export const Line = memo(function Line({ message, continued, onEdit }: Props) {
  const { userId, username, own, state, timestamp } = message
  return (
    <li
      className={`line ${own ? "own" : ""} ${continued ? "continued" : ""}`}
      data-state={state}
      style={hued(userId)}
    >
      {!own && !continued && <Avatar userId={userId} username={username} />}
      <div className="said">
        {!continued && (
          <p className="byline">
            <b className="author" dir="auto">
              {own ? "You" : face(username).name}
            </b>
            {timestamp !== null && <Time seconds={timestamp} />}
          </p>
        )}
        <p className="content" dir="auto">
          <Text content={message.content} />
        </p>
        {state === "sending" && <p className="fate">Sending…</p>}
        {state === "failed" && <Failed message={message} onEdit={onEdit} />}
      </div>
    </li>
  )
})

/** The text of a message with its web addresses as links. */
function Text({ content }: { content: string }) {
  let position = 0
  return withLinks(content).map(({ text, href }) => {
    position += text.length
    if (href === undefined) return text
    return (
      <a key={position} href={href} target="_blank" rel="noopener noreferrer">
        {text}
      </a>
    )
  })
}

function Failed({ message, onEdit }: Omit<Props, "continued">) {
  const client = useClient()
  const { id, error } = message
  const hopeless = error?.code === "chat_too_long" || error?.code === "chat_empty"
  return (
    <p className="fate failed">
      <span>Not sent. {sentence(error?.code ?? "expired")}</span>
      {!hopeless && (
        <button type="button" onClick={() => client.retryChat(id)}>
          Retry
        </button>
      )}
      {hopeless && (
        <button type="button" onClick={() => onEdit(message)}>
          Edit
        </button>
      )}
      <button type="button" onClick={() => client.discardChat(id)}>
        Discard
      </button>
    </p>
  )
}

function Time({ seconds }: { seconds: number }) {
  const date = new Date(seconds * 1000)
  return (
    <time dateTime={date.toISOString()} title={date.toLocaleString()}>
      {date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })}
    </time>
  )
}
