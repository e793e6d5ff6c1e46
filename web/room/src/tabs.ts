/** The other tabs of this browser that are in the same room as the same user. Tabs of one browser share a channel. */

import { newId, type Readable } from "@studyroom/client"

/** A tab that does not answer within this time after a question is gone, or frozen. */
const ANSWER_MS = 2000
const ASK_MS = 15_000

const thisTab = newId()

interface Word {
  type: "here" | "who" | "gone"
  tab: string
  roomId: string
  userId: string
}

/** The number of other tabs. Call `stop` at the end. */
export class Tabs implements Readable<number> {
  private readonly channel = new BroadcastChannel("studyroom.tabs")
  /** The other tabs, each with the time of its last word. */
  private readonly others = new Map<string, number>()
  private readonly listeners = new Set<() => void>()
  private readonly asking: number
  private waiting = 0
  private count = 0

  constructor(
    private readonly roomId: string,
    private readonly userId: string,
  ) {
    this.channel.onmessage = ({ data }: MessageEvent<Word>) => this.received(data)
    this.asking = window.setInterval(this.ask, ASK_MS)
    addEventListener("pagehide", this.leave)
    addEventListener("pageshow", this.ask)
    this.ask()
  }

  readonly get = (): number => this.count

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  stop(): void {
    this.leave()
    clearInterval(this.asking)
    clearTimeout(this.waiting)
    removeEventListener("pagehide", this.leave)
    removeEventListener("pageshow", this.ask)
    this.channel.close()
  }

  private readonly leave = (): void => this.send("gone")

  private readonly ask = (): void => {
    const asked = Date.now()
    this.send("who")
    clearTimeout(this.waiting)
    this.waiting = window.setTimeout(() => {
      for (const [tab, at] of this.others) if (at < asked) this.others.delete(tab)
      this.changed()
    }, ANSWER_MS)
  }

  private send(type: Word["type"]): void {
    const { roomId, userId } = this
    this.channel.postMessage({ type, tab: thisTab, roomId, userId } satisfies Word)
  }

  private received({ type, tab, roomId, userId }: Word): void {
    const together = roomId === this.roomId && userId === this.userId
    if (type === "gone" || !together) this.others.delete(tab)
    else this.others.set(tab, Date.now())
    if (type === "who" && together) this.send("here")
    this.changed()
  }

  private changed(): void {
    if (this.others.size === this.count) return
    this.count = this.others.size
    for (const listener of this.listeners) listener()
  }
}
