/** The cursors of others, drawn without React. One loop moves each cursor that changed, and sleeps while all rest. */

import type { Cursor, Member, Readable } from "@studyroom/client"
import { face, hue } from "../face"
import { type Spot, Track } from "./motion"
import { shownUntil } from "./presence"

/** The distances from the tip to the label. */
const [ARROW_PX, BELOW_PX] = [11, 16]
/** The height of a label, and a little space. */
const LABEL_PX = 20

interface Drawn {
  track: Track
  arrow: HTMLElement
  label: HTMLElement
  heard: Cursor | null
  name: string
  labelWidth: number
  left: number
  top: number
  shown: string
}

/** The part of the client that the layer uses. */
export interface CursorSource {
  readonly cursors: Readable<ReadonlyMap<string, Cursor>>
  readonly others: Readable<readonly Member[]>
}

export class CursorLayer {
  private readonly drawn = new Map<string, Drawn>()
  private readonly still = matchMedia("(prefers-reduced-motion: reduce)")
  private readonly ends: (() => void)[]
  private width = 0
  private height = 0
  private frame = 0
  private alarm = 0
  private names = new Map<string, string>()

  constructor(
    private readonly layer: HTMLElement,
    private readonly source: CursorSource,
  ) {
    const sizes = new ResizeObserver(() => this.measure())
    sizes.observe(layer)
    this.measure()
    this.name()
    this.ends = [
      () => sizes.disconnect(),
      source.others.subscribe(() => this.name()),
      source.cursors.subscribe(() => this.wake()),
    ]
    this.wake()
  }

  stop(): void {
    for (const end of this.ends) end()
    cancelAnimationFrame(this.frame)
    clearTimeout(this.alarm)
    this.layer.replaceChildren()
  }

  private wake(): void {
    if (!this.frame) this.frame = requestAnimationFrame((now) => this.draw(now))
  }

  private draw(now: number): void {
    this.frame = 0
    this.hear()
    let moving = false
    for (const drawn of this.drawn.values()) {
      const spot = this.still.matches ? drawn.track.end : drawn.track.spot(now)
      if (spot) this.place(drawn, spot)
      moving ||= !this.still.matches && !drawn.track.resting
    }
    if (moving) this.wake()
    this.fade(now)
    this.unclutter()
  }

  /** Hide the cursors that show nothing any more, and come back when the next one is due. */
  private fade(now: number): void {
    let next = Number.POSITIVE_INFINITY
    for (const { arrow, heard } of this.drawn.values()) {
      const until = heard ? shownUntil(heard) : now
      arrow.classList.toggle("gone", until <= now)
      if (until > now) next = Math.min(next, until)
    }
    clearTimeout(this.alarm)
    if (next !== Number.POSITIVE_INFINITY) this.alarm = window.setTimeout(() => this.wake(), next - now)
  }

  /** Hide labels that would cover others. Those of cursors that came earlier stay. */
  private unclutter(): void {
    const shown: Box[] = []
    for (const drawn of this.drawn.values()) {
      const box = boxOf(drawn, this.width)
      const covers = shown.some((other) => overlap(box, other))
      drawn.arrow.classList.toggle("unnamed", covers)
      if (!covers && !drawn.arrow.classList.contains("gone")) shown.push(box)
    }
  }

  private hear(): void {
    const cursors = this.source.cursors.get()
    for (const [userId, drawn] of this.drawn) {
      if (cursors.has(userId)) continue
      drawn.arrow.remove()
      this.drawn.delete(userId)
    }
    for (const [userId, cursor] of cursors) {
      const drawn = this.drawn.get(userId) ?? this.add(userId)
      if (drawn.heard === cursor) continue
      drawn.heard = cursor
      drawn.track.push(clamp(cursor.x), clamp(cursor.y), cursor.at)
    }
  }

  private add(userId: string): Drawn {
    const arrow = document.createElement("div")
    const label = document.createElement("span")
    arrow.className = "cursor"
    label.dir = "auto"
    arrow.style.setProperty("--hue", String(hue(userId)))
    arrow.append(label)
    const drawn: Drawn = {
      track: new Track(),
      arrow,
      label,
      heard: null,
      name: "",
      labelWidth: 0,
      left: 0,
      top: 0,
      shown: "",
    }
    this.drawn.set(userId, drawn)
    this.layer.append(arrow)
    this.label(userId, drawn)
    return drawn
  }

  private place(drawn: Drawn, { x, y }: Spot): void {
    const [left, top] = [x * this.width, y * this.height]
    const shown = `translate3d(${left.toFixed(1)}px, ${top.toFixed(1)}px, 0)`
    if (shown === drawn.shown) return
    drawn.arrow.style.transform = drawn.shown = shown
    drawn.left = left
    drawn.top = top
    drawn.arrow.classList.toggle("flipped", left + drawn.labelWidth > this.width)
  }

  private name(): void {
    this.names = new Map(
      this.source.others.get().map((member) => [member.userId, face(member.username).name]),
    )
    for (const [userId, drawn] of this.drawn) this.label(userId, drawn)
  }

  private label(userId: string, drawn: Drawn): void {
    const name = this.names.get(userId) ?? ""
    if (name === drawn.name) return
    drawn.label.textContent = drawn.name = name
    drawn.labelWidth = drawn.label.offsetWidth + ARROW_PX
  }

  private measure(): void {
    this.width = this.layer.clientWidth
    this.height = this.layer.clientHeight
    this.wake()
  }
}

interface Box {
  left: number
  right: number
  top: number
}

/** Where the label is, on a board of this width. */
function boxOf({ left, top, labelWidth }: Drawn, width: number): Box {
  const isFlipped = left + labelWidth > width
  return isFlipped
    ? { left: left - labelWidth, right: left, top: top + BELOW_PX }
    : { left: left + ARROW_PX, right: left + labelWidth, top: top + BELOW_PX }
}

function overlap(one: Box, other: Box): boolean {
  return one.left < other.right && other.left < one.right && Math.abs(one.top - other.top) < LABEL_PX
}

function clamp(fraction: number): number {
  return Math.min(1, Math.max(0, fraction))
}
