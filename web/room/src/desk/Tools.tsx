import { useMyPresence } from "@studyroom/client/react"
import { serverNow } from "../clock"
import { Hand } from "../icons"
import { useTexts } from "../texts"
import { TimerButton } from "../timer/TimerButton"
import { StatusButton } from "./StatusButton"
import { handOf } from "./shown"

/** The buttons for what the user shows to the others. */
export function Tools() {
  const t = useTexts()
  const [presence, update] = useMyPresence()
  const raised = handOf(presence) !== null
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset is for forms
    <div className="tools" role="group" aria-label={t.tools}>
      <button
        type="button"
        aria-pressed={raised}
        onClick={() => update({ hand: raised ? null : serverNow() })}
      >
        <Hand />
        <span className="label">{t.raiseHand}</span>
      </button>
      <StatusButton />
      <TimerButton />
    </div>
  )
}
