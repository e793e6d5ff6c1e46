/**
 * The way of the keyboard through the messages. The button of one message is in the order of Tab. From there arrows
 * lead up and down to those of other messages, and left and right to the quote and the reactions of the same one.
 */

import type { KeyboardEvent } from "react"

const MENU_BUTTON = "[aria-haspopup=menu]"

/** Moves the focus, if a stop has it and the key is an arrow. `leave`: what Escape does there. */
export function step(event: KeyboardEvent<HTMLElement>, leave: () => void): void {
  const stop = (event.target as HTMLElement).closest<HTMLElement>("[data-stop]")
  const line = stop?.closest<HTMLElement>(".line")
  if (!stop || !line) return
  if (event.key === "Escape") return leave()
  const all = (within: HTMLElement, which: string) => [...within.querySelectorAll<HTMLElement>(which)]
  const [stops, lines] = [all(line, "[data-stop]"), all(event.currentTarget, `.line ${MENU_BUTTON}`)]
  const [part, button] = [stops.indexOf(stop), lines.findIndex((one) => line.contains(one))]
  const next = (
    [
      ["ArrowUp", lines[button - 1]],
      ["ArrowDown", lines[button + 1]],
      ["ArrowLeft", stops[part - 1]],
      ["ArrowRight", stops[part + 1]],
    ] as const
  ).find(([key]) => key === event.key)
  if (!next) return
  event.preventDefault()
  next[1]?.focus()
}
