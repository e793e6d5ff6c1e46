import { useMyPresence } from "@studyroom/client/react"
import { serverNow } from "../clock"
import { Hand, Notebook } from "../icons"
import type { NotesSwitch } from "../notes/open"
import { useTexts } from "../texts"
import { TimerButton } from "../timer/TimerButton"
import { StatusButton } from "./StatusButton"
import { handOf } from "./shown"

/** The button of the notes, and those for what the user shows to the others. */
export function Tools({ notes }: { notes: NotesSwitch }) {
  const t = useTexts()
  const [presence, update] = useMyPresence()
  const raised = handOf(presence) !== null
  return (
    <div className="tools">
      <button
        type="button"
        ref={notes.button}
        className="of-notes"
        aria-expanded={notes.open}
        onClick={() => notes.show(!notes.open)}
      >
        <Notebook />
        <span className="label">{t.notes}</span>
      </button>
      {/* biome-ignore lint/a11y/useSemanticElements: a fieldset is for forms */}
      <div className="shown" role="group" aria-label={t.tools}>
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
    </div>
  )
}
