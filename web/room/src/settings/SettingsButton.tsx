import { useState } from "react"
import { notificationState, turnOff, turnOn } from "../alerts/notifications"
import { play } from "../alerts/sound"
import { Dialog } from "../Dialog"
import { Sliders } from "../icons"
import { memory } from "../memory"
import { hasToken } from "../moderation/requests"
import { NameForm } from "../rooms/NameForm"
import { choose, LANGUAGES, type Language, useLanguage, useTexts } from "../texts"
import { OwnName } from "./OwnName"

interface Props {
  /** The name of the room. */
  name: string
  onRename: (name: string) => void
}

/** The window with the settings of this browser, and the names of the user and the room. */
export function SettingsButton({ name, onRename }: Props) {
  const t = useTexts()
  const [open, setOpen] = useState(false)
  return (
    <>
      <button
        type="button"
        className="icon settings"
        aria-label={t.settings}
        title={t.settings}
        aria-haspopup="dialog"
        onClick={() => setOpen(true)}
      >
        <Sliders />
      </button>
      <Dialog title={t.settings} open={open} onClose={() => setOpen(false)}>
        {!hasToken() && <OwnName onDone={() => setOpen(false)} />}
        <NameForm
          name={name}
          onRename={(text) => {
            onRename(text)
            setOpen(false)
          }}
        />
        <LanguageChoice />
        <Sounds />
        <Notifications />
      </Dialog>
    </>
  )
}

function LanguageChoice() {
  const t = useTexts()
  const language = useLanguage()
  return (
    <label className="switch">
      {t.language}
      <select value={language} onChange={(event) => choose(event.target.value as Language)}>
        {Object.entries(LANGUAGES).map(([code, name]) => (
          <option key={code} value={code} lang={code}>
            {name}
          </option>
        ))}
      </select>
    </label>
  )
}

function Sounds() {
  const t = useTexts()
  const [on, setOn] = useState(memory.sounds.get() === null)
  const change = (wanted: boolean) => {
    memory.sounds.set(wanted ? null : "off")
    setOn(wanted)
    play("message")
  }
  return (
    <label className="switch">
      <input type="checkbox" checked={on} onChange={(event) => change(event.target.checked)} />
      {t.sounds}
    </label>
  )
}

function Notifications() {
  const t = useTexts()
  const [state, setState] = useState(notificationState)
  const change = async (wanted: boolean) => {
    if (wanted) await turnOn()
    else turnOff()
    setState(notificationState())
  }
  if (state === "impossible") return null
  return (
    <div>
      <label className="switch">
        <input type="checkbox" checked={state === "on"} onChange={(event) => change(event.target.checked)} />
        {t.notifications}
      </label>
      <p className="fault" role="status">
        {state === "refused" && t.notificationsRefused}
      </p>
    </div>
  )
}
