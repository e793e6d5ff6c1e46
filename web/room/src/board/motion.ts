/** Where a cursor is between two updates: pure, the clock is an argument. */

export interface Spot {
  x: number
  y: number
}

interface Sample extends Spot {
  at: number
}

/** Cursors are shown so late that the next update is there when it is needed: they come every 50 ms. */
export const DELAY_MS = 75
/** A cursor that rested sets out when its update comes, not when it came to rest. */
const LONGEST_GLIDE_MS = 100

export class Track {
  private samples: Sample[] = []

  push(x: number, y: number, at: number): void {
    const last = this.samples.at(-1)
    if (last && at <= last.at) return
    if (last && at - last.at > LONGEST_GLIDE_MS) this.samples = [{ ...last, at: at - LONGEST_GLIDE_MS }]
    this.samples.push({ x, y, at })
  }

  /** `now` on the clock of `push`; undefined before the first update. */
  spot(now: number): Spot | undefined {
    const shown = now - DELAY_MS
    while (this.samples.length > 1 && (this.samples[1] as Sample).at <= shown) this.samples.shift()
    const [from, to] = this.samples
    if (!from || !to) return from
    const part = Math.max(0, (shown - from.at) / (to.at - from.at))
    return { x: from.x + (to.x - from.x) * part, y: from.y + (to.y - from.y) * part }
  }

  /** The newest update, for those who want no motion. */
  get end(): Spot | undefined {
    return this.samples.at(-1)
  }

  /** Nothing moves any more. Only `spot` brings it about. */
  get resting(): boolean {
    return this.samples.length < 2
  }
}
