import type { LivingMessage } from "@studyroom/client/living-chat"
import { face } from "../../face"
import { useTexts } from "../../texts"
import { useConversation } from "./conversation"

const LONGEST = 160

interface Props {
  /** The id of the message that is replied to. */
  id: string
  /** The message with that id, if it is shown. */
  message: LivingMessage | undefined
  /** Whether it may be further up. */
  mayBeEarlier: boolean
}

/** The message that another one replies to, above the reply. A press shows it in its place. */
export function Quote({ id, message, mayBeEarlier }: Props) {
  const t = useTexts()
  const { offered, jump } = useConversation()
  if (message === undefined && !mayBeEarlier) return <p className="quote dim">{t.goneMessage}</p>
  return (
    <button
      type="button"
      className="quote"
      // Where messages have no menus, no arrows lead here.
      tabIndex={offered ? -1 : 0}
      data-stop
      onClick={() => jump(id)}
    >
      <span className="unseen">{t.inReplyTo} </span>
      {message === undefined ? (
        <span className="dim">{t.earlierMessage}</span>
      ) : (
        <>
          <bdi className="quoted">{message.own ? t.author : face(message.username).name}</bdi>{" "}
          <bdi className="snippet">{snippet(message.content)}</bdi>
        </>
      )}
    </button>
  )
}

export function snippet(text: string): string {
  return [...text.trim().replace(/\s+/g, " ")].slice(0, LONGEST).join("")
}
