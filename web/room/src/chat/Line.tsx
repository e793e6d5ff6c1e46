import type { ChatMessage } from "@studyroom/client"
import { useClient } from "@studyroom/client/react"
import { memo } from "react"
import { Avatar, hued } from "../Avatar"
import { sentence } from "../codes"
import { face } from "../face"
import { Bin } from "../icons"
import { useModeration } from "../moderation/Moderation"
import { dateLocale, useTexts } from "../texts"
import { Content } from "./Content"

interface Props {
  message: ChatMessage
  /** Whether its author and time are above it already. */
  continued: boolean
  onEdit: (message: ChatMessage) => void
}

/** One message. */
export const Line = memo(function Line({ message, continued, onEdit }: Props) {
  const t = useTexts()
  const moderation = useModeration()
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
              {own ? t.author : face(username).name}
            </b>
            {timestamp !== null && <Time seconds={timestamp} />}
          </p>
        )}
        <div className="content" dir="auto">
          <Content text={message.content} />
        </div>
        {moderation && state === "sent" && (
          <button
            type="button"
            className="quiet icon delete"
            aria-label={t.deleteMessage}
            title={t.deleteMessage}
            aria-haspopup="dialog"
            onClick={() => moderation.message(message)}
          >
            <Bin />
          </button>
        )}
        {state === "sending" && <p className="fate">{t.sending}</p>}
        {state === "failed" && <Failed message={message} onEdit={onEdit} />}
      </div>
    </li>
  )
})

function Failed({ message, onEdit }: Omit<Props, "continued">) {
  const client = useClient()
  const t = useTexts()
  const { id, error } = message
  const hopeless = error?.code === "chat_too_long" || error?.code === "chat_empty"
  return (
    <p className="fate failed">
      <span>{t.notSent({ reason: sentence(error?.code ?? "expired") })}</span>
      {!hopeless && (
        <button type="button" onClick={() => client.retryChat(id)}>
          {t.retry}
        </button>
      )}
      {hopeless && (
        <button type="button" onClick={() => onEdit(message)}>
          {t.edit}
        </button>
      )}
      <button type="button" onClick={() => client.discardChat(id)}>
        {t.discard}
      </button>
    </p>
  )
}

function Time({ seconds }: { seconds: number }) {
  const date = new Date(seconds * 1000)
  return (
    <time dateTime={date.toISOString()} title={date.toLocaleString(dateLocale())}>
      {date.toLocaleTimeString(dateLocale(), { hour: "2-digit", minute: "2-digit" })}
    </time>
  )
}
