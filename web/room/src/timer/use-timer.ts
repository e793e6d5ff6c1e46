import { useEffect, useReducer } from "react"
import { serverNow } from "../clock"
import { type Shape, useRecord } from "../record/use-record"
import { isRunning, isShown, type Kind, SHOWN_OVER_MS, type Timer, timerOf } from "./timer"

const TIMER: Shape<Timer> = { field: "timer", read: timerOf, lives: isRunning }

export interface RoomTimer {
  /** The timer that runs, or is over since a moment. */
  timer: (Timer & { kind: Kind }) | null
  leftMs: number
  start: (kind: Kind, minutes: number) => void
  stop: () => void
}

/** The timer of the room. `onOver` is called when one that this page saw running is over. */
export function useTimer(onOver: (kind: Kind) => void): RoomTimer {
  const [known, write] = useRecord(TIMER)
  const now = serverNow()
  useTicks(known)
  useOver(known, onOver)
  return {
    timer: isShown(known, now) ? known : null,
    leftMs: Math.max(0, (known?.until ?? 0) - now),
    start: (kind, minutes) => write((at) => ({ at, kind, until: at + minutes * 60_000 })),
    stop: () => write((at) => ({ at, kind: "stopped", until: at })),
  }
}

/** Renders again when the number of seconds changes. */
function useTicks(timer: Timer | null): void {
  const [count, tick] = useReducer((before: number) => before + 1, 0)
  // biome-ignore lint/correctness/useExhaustiveDependencies: the next tick follows each one
  useEffect(() => {
    const now = serverNow()
    if (!isShown(timer, now)) return
    const left = timer.until - now
    const wait = left > 0 ? left % 1000 || 1000 : left + SHOWN_OVER_MS
    const next = setTimeout(tick, Math.ceil(wait))
    return () => clearTimeout(next)
  }, [timer, count])
}

/** The alarm is apart from the ticks, because browsers delay timeouts of hidden tabs that set each other. */
function useOver(timer: Timer | null, onOver: (kind: Kind) => void): void {
  const [again, repeat] = useReducer((before: number) => before + 1, 0)
  // biome-ignore lint/correctness/useExhaustiveDependencies: `again` sets the alarm once more
  useEffect(() => {
    if (!isRunning(timer, serverNow())) return
    const { kind } = timer
    const alarm = setTimeout(() => {
      if (isRunning(timer, serverNow())) repeat()
      else onOver(kind)
    }, timer.until - serverNow())
    return () => clearTimeout(alarm)
  }, [timer, onOver, again])
}
