import type { ChatMessage } from "@studyroom/client"
import type { LivingMessage } from "@studyroom/client/living-chat"
import { useClient } from "@studyroom/client/react"
import { memo } from "react"
import { Avatar, hued } from "../Avatar"
import { sentence } from "../codes"
import { face } from "../face"
import { Bin, More } from "../icons"
import { useModeration } from "../moderation/Moderation"
import { dateLocale, filled, useTexts } from "../texts"
import { Content } from "./Content"
import { useConversation } from "./living/conversation"
import { Mentioned } from "./living/Mentioned"
import { Quote, snippet } from "./living/Quote"
import { Reactions } from "./living/Reactions"

interface Props {
  message: LivingMessage
  /** The message that it replies to, if that is shown. */
  quoted: LivingMessage | undefined
  /** Whether there may be messages that are not shown. */
  mayBeEarlier: boolean
  /** Whether its author and time are above it already. */
  continued: boolean
  /** Whether it mentions the user. */
  forUser: boolean
  /** Whether a press on a quote has just led here. */
  found: boolean
  /** Whether Tab leads to its button. */
  isStop: boolean
  onEdit: (message: ChatMessage) => void
}

/** One message. */
export const Line = memo(function Line(props: Props) {
  const { message, continued, forUser, found, isStop, onEdit } = props
  const t = useTexts()
  const moderation = useModeration()
  const { offered } = useConversation()
  const { userId, username, own, state, timestamp, replyTo, editedAt } = message
  return (
    <li
      className={classes({ line: true, own, continued, "for-user": forUser, found })}
      data-state={state}
      data-id={message.id}
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
        {forUser && <p className="unseen">{t.mentionsYou}</p>}
        {replyTo !== null && <Quote id={replyTo} message={props.quoted} mayBeEarlier={props.mayBeEarlier} />}
        <div className="bubble">
          <div className="content" dir="auto">
            {message.mentioned.length > 0 ? (
              <Mentioned message={message} />
            ) : (
              <Content text={message.content} />
            )}
          </div>
          {offered && state === "sent" && <MenuButton message={message} isStop={isStop} />}
        </div>
        {editedAt !== null && <Edited seconds={editedAt} />}
        {message.reacted.length > 0 && <Reactions message={message} />}
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

interface MenuButtonProps {
  message: LivingMessage
  isStop: boolean
}

function MenuButton({ message, isStop }: MenuButtonProps) {
  const t = useTexts()
  const { open } = useConversation()
  const name = face(message.username).name
  const label = message.own ? t.actionsForOwn : filled(t.actionsFor, { name })
  return (
    <button
      type="button"
      className="quiet icon act"
      aria-label={`${label}: ${snippet(message.content)}`}
      aria-haspopup="menu"
      tabIndex={isStop ? 0 : -1}
      data-stop
      onClick={(event) => open(message, event.currentTarget)}
    >
      <More />
    </button>
  )
}

function Edited({ seconds }: { seconds: number }) {
  const t = useTexts()
  return (
    <p className="edited dim" title={new Date(seconds * 1000).toLocaleString(dateLocale())}>
      {t.edited}
    </p>
  )
}

function Failed({ message, onEdit }: Pick<Props, "message" | "onEdit">) {
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

function classes(wanted: Readonly<Record<string, boolean>>): string {
  return Object.keys(wanted)
    .filter((name) => wanted[name])
    .join(" ")
}
