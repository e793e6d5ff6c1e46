import { useClient } from "@studyroom/client/react"
import { type MouseEvent, useEffect, useRef } from "react"
import { PlaceIcon } from "../icons"
import { PLACES, type Place, spotIn } from "../places"
import { useTexts } from "../texts"
import { CursorLayer } from "./cursors"
import { AWAY } from "./presence"
import { Seated } from "./Seated"

interface Props {
  seat: Place | null
  onSit: (place: Place | null) => void
}

export function Board({ seat, onSit }: Props) {
  const client = useClient()
  const t = useTexts()
  const board = useRef<HTMLElement>(null)
  const layer = useRef<HTMLDivElement>(null)

  useEffect(() => {
    const cursors = new CursorLayer(layer.current as HTMLElement, client)
    return () => cursors.stop()
  }, [client])

  /** The last position of the pointer on the board, in fractions. Null before the first. */
  const pointer = useRef<{ x: number; y: number } | null>(null)

  const point = ({ clientX, clientY }: { clientX: number; clientY: number }, at: Place | null = seat) => {
    const box = (board.current as HTMLElement).getBoundingClientRect()
    const x = fraction((clientX - box.left) / box.width)
    const y = fraction((clientY - box.top) / box.height)
    pointer.current = { x, y }
    client.moveCursor(x, y, at?.id ?? null)
  }

  /** The user points at nothing now. Others see them at their place, or nowhere. */
  const leave = () => {
    if (seat) settle(seat)
    else if (pointer.current) client.moveCursor(pointer.current.x, pointer.current.y, AWAY)
  }
  useHidden(leave)

  const settle = (place: Place) => {
    const { x, y } = spotIn(place, client.self.get()?.userId ?? "")
    client.moveCursor(x, y, place.id)
  }

  const press = (event: MouseEvent, pressed: Place) => {
    const place = pressed === seat ? null : pressed
    onSit(place)
    const byKey = event.detail === 0
    if (byKey && place) settle(place)
    else if (!byKey) point(event, place)
    else client.moveCursor(pressed.x, pressed.y, AWAY)
  }

  return (
    <section
      ref={board}
      className="board panel"
      aria-label={t.board}
      onPointerMove={(event) => point(event)}
      onPointerDown={(event) => point(event)}
      // A finger that is lifted leaves too, but its cursor stays for a while, so that others see the spot.
      onPointerLeave={({ pointerType }) => pointerType === "mouse" && leave()}
    >
      {PLACES.map((place) => (
        <button
          key={place.id}
          type="button"
          aria-pressed={place === seat}
          data-place={place.id}
          onClick={(event) => press(event, place)}
        >
          <PlaceIcon id={place.id} />
          <span className="place-name">{t[place.name]}</span>
          <span className="hint dim">{place === seat ? t.youSitHere : t[place.hint]}</span>
          <Seated place={place} own={place === seat} />
        </button>
      ))}
      <div ref={layer} className="cursors" aria-hidden="true" />
    </section>
  )
}

/** Calls the function of the last render when the tab becomes hidden. */
function useHidden(onHidden: () => void): void {
  const newest = useRef(onHidden)
  useEffect(() => {
    newest.current = onHidden
  })
  useEffect(() => {
    const changed = () => document.visibilityState === "hidden" && newest.current()
    document.addEventListener("visibilitychange", changed)
    return () => document.removeEventListener("visibilitychange", changed)
  }, [])
}

function fraction(value: number): number {
  return Math.round(Math.min(1, Math.max(0, value)) * 10_000) / 10_000
}
