/** The position of a cursor between two updates. Pure: the clock is an argument. */

export interface Spot {
  x: number
  y: number
}

interface Sample extends Spot {
  at: number
}

/** The delay with which cursors are shown. Updates come every 50 ms, so the next one is there in time. */
export const DELAY_MS = 75
/** The longest glide. A cursor that has rested starts when its update comes, not when it came to rest. */
const LONGEST_GLIDE_MS = 100

export class Track {
  private samples: Sample[] = []

  push(x: number, y: number, at: number): void {
    const last = this.samples.at(-1)
    if (last && at <= last.at) return
    if (last && at - last.at > LONGEST_GLIDE_MS) this.samples = [{ ...last, at: at - LONGEST_GLIDE_MS }]
    this.samples.push({ x, y, at })
  }

  /** Returns the position at `now`, on the clock of `push`, or undefined before the first update. */
  spot(now: number): Spot | undefined {
    const shown = now - DELAY_MS
    while (this.samples.length > 1 && (this.samples[1] as Sample).at <= shown) this.samples.shift()
    const [from, to] = this.samples
    if (!from || !to) return from
    const part = Math.max(0, (shown - from.at) / (to.at - from.at))
    return { x: from.x + (to.x - from.x) * part, y: from.y + (to.y - from.y) * part }
  }

  /** The newest update, for users who prefer reduced motion. */
  get end(): Spot | undefined {
    return this.samples.at(-1)
  }

  /** Whether the cursor rests. Only calls of `spot` change this to true. */
  get resting(): boolean {
    return this.samples.length < 2
  }
}
