import type { LivingMessage } from "@studyroom/client/living-chat"
import { filled, useTexts } from "../../texts"
import { useConversation } from "./conversation"
import { useNameOf } from "./people"

/** More names than this are counted only. */
const NAMED_MAX = 8

/** The reactions to a message, each with a button that joins in or takes the own one back. */
export function Reactions({ message }: { message: LivingMessage }) {
  const t = useTexts()
  const { offered, react } = useConversation()
  const nameOf = useNameOf()
  const names = (userIds: readonly string[], count: number): string => {
    const shown = userIds.flatMap((id) => nameOf(id) ?? []).slice(0, NAMED_MAX)
    const rest = count - shown.length
    return [...shown, ...(rest > 0 ? [t.others(rest)] : [])].join(", ")
  }
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset is for forms
    <div className="reacted" role="group" aria-label={t.reactions}>
      {message.reacted.map(({ reaction, count, userIds, own }) => {
        const by = filled(t.reactedBy, { names: names(userIds, count) })
        return (
          <button
            key={reaction}
            type="button"
            tabIndex={-1}
            data-stop
            disabled={!offered}
            aria-pressed={own}
            title={`${reaction} ${by}`}
            onClick={() => react(message, reaction, !own)}
          >
            <bdi>{reaction}</bdi> <span>{count}</span>
            <span className="unseen"> {by}</span>
          </button>
        )
      })}
    </div>
  )
}
