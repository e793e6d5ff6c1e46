/** Keeps the text under the reader's eyes in its place while the list above it changes. */

/** The text of a message that was visible, with its distance from the upper edge of the frame. */
interface Seen {
  text: HTMLElement
  distance: number
}

export class ReadingPlace {
  private seen: Seen[] = []
  /** How far the frame was scrolled. */
  private top = 0

  constructor(private readonly frame: HTMLElement) {}

  /** The distance to the end, in pixels. */
  get toEnd(): number {
    const { scrollHeight, scrollTop, clientHeight } = this.frame
    return scrollHeight - scrollTop - clientHeight
  }

  /**
   * Whether the reader has scrolled up since the visible messages were remembered. A list that became shorter scrolls to
   * its end.
   */
  get scrolledUp(): boolean {
    return this.frame.scrollTop < this.top - 1 && this.toEnd > 1
  }

  /** Remember the visible messages. Call it after every scroll and every change. */
  remember(): void {
    const { frame } = this
    this.top = frame.scrollTop
    const edge = frame.getBoundingClientRect().top
    const texts = [...frame.querySelectorAll<HTMLElement>(".content")]
    this.seen = []
    for (const text of texts.slice(firstBelow(texts, edge))) {
      const distance = text.getBoundingClientRect().top - edge
      if (distance > frame.clientHeight) break
      this.seen.push({ text, distance })
    }
  }

  /** Scroll so that the first of the remembered messages that is still there is where it was. */
  restore(): void {
    const kept = this.seen.find(({ text }) => text.isConnected)
    if (!kept) return
    const edge = this.frame.getBoundingClientRect().top
    const scrolled = this.toEnd > 1 ? this.frame.scrollTop - this.top : 0
    this.frame.scrollTop += kept.text.getBoundingClientRect().top - edge - (kept.distance - scrolled)
  }
}

/** The index of the first text that ends below the edge. They are in order, so half of them drop out each time. */
function firstBelow(texts: readonly HTMLElement[], edge: number): number {
  let [low, high] = [0, texts.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if ((texts[middle] as HTMLElement).getBoundingClientRect().bottom > edge) high = middle
    else low = middle + 1
  }
  return low
}
