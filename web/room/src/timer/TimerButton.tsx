import { useCallback, useState } from "react"
import { notify } from "../alerts/notifications"
import { play } from "../alerts/sound"
import { Dialog } from "../Dialog"
import { Clock } from "../icons"
import { dateLocale, texts, useTexts } from "../texts"
import { inWords, type Kind, LENGTHS } from "./timer"
import { type RoomTimer, useTimer } from "./use-timer"

/** The timer of the room, and the window in which anyone starts and stops it. */
export function TimerButton() {
  const t = useTexts()
  const [open, setOpen] = useState(false)
  const [over, setOver] = useState<Kind | null>(null)
  const onOver = useCallback((kind: Kind) => {
    setOver(kind)
    play("over")
    notify(texts().timer, kind === "focus" ? texts().focusOver : texts().breakOver, "timer")
  }, [])
  const room = useTimer(onOver)
  const { timer, leftMs } = room
  const ofKind = { focus: t.focus, break: t.break }
  const overOfKind = { focus: t.focusOver, break: t.breakOver }
  return (
    <>
      <button
        type="button"
        className="timer"
        data-kind={timer?.kind}
        aria-haspopup="dialog"
        onClick={() => setOpen(true)}
      >
        <Clock />
        {timer === null ? (
          <span className="label">{t.timer}</span>
        ) : leftMs > 0 ? (
          <span role="timer">
            <span className="kind">{ofKind[timer.kind]}</span> {inWords(leftMs)}
          </span>
        ) : (
          <span>{overOfKind[timer.kind]}</span>
        )}
      </button>
      <span className="unseen" role="status">
        {over && timer && leftMs === 0 && overOfKind[over]}
      </span>
      <Dialog title={t.timerOfRoom} open={open} onClose={() => setOpen(false)}>
        <Choices room={room} onDone={() => setOpen(false)} />
      </Dialog>
    </>
  )
}

function Choices({ room: { timer, leftMs, start, stop }, onDone }: { room: RoomTimer; onDone: () => void }) {
  const t = useTexts()
  const titles = { focus: t.startFocus, break: t.startBreak }
  const running = timer !== null && leftMs > 0
  const time =
    running &&
    new Date(Date.now() + leftMs).toLocaleTimeString(dateLocale(), { hour: "2-digit", minute: "2-digit" })
  const act = (what: () => void) => () => {
    what()
    onDone()
  }
  return (
    <>
      <p className="dim">{t.timerExplained}</p>
      {(["focus", "break"] as const).map((kind) => (
        <fieldset key={kind} className="choices">
          <legend>{titles[kind]}</legend>
          {LENGTHS[kind].map((minutes) => (
            <button key={minutes} type="button" onClick={act(() => start(kind, minutes))}>
              {t.minutes({ minutes })}
            </button>
          ))}
        </fieldset>
      ))}
      {time && (
        <div className="choices">
          <p>{t.runsUntil({ time })}</p>
          <button type="button" onClick={act(stop)}>
            {t.stopTimer}
          </button>
        </div>
      )}
    </>
  )
}
