/** Custom presence: the fields that a member shows to the others. A change has null for a field that is deleted. */

import type { Presence, PresenceChange } from "../types.js"
import { Throttle } from "./throttle.js"

export const NO_PRESENCE: Presence = {}

/** Returns `fields` itself if the change changes nothing. */
export function merged(fields: Presence, change: PresenceChange): Presence {
  const entries = Object.entries({ ...fields, ...change }).filter(([, value]) => value != null)
  const after = Object.fromEntries(entries)
  return sameJson(fields, after) ? fields : after
}

export function sameJson(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other)
}

/** The least time between two changes that the client sends. The server allows ten a second. */
const INTERVAL_MS = 150

/** The fields that this client has set in its room. It sends changes together, and again if the server lost them. */
export class OwnPresence {
  readonly #throttle = new Throttle<PresenceChange>(INTERVAL_MS)
  #wanted: PresenceChange = NO_PRESENCE
  #unsent: PresenceChange = NO_PRESENCE

  update(change: PresenceChange): void {
    const fields = Object.fromEntries(Object.entries(change).map(([name, value]) => [name, value ?? null]))
    this.#wanted = { ...this.#wanted, ...fields }
    this.#queue(fields)
  }

  /** The client has joined, and the server has these fields. */
  joined(known: Presence): void {
    const lost = this.#lost(known)
    this.#unsent = NO_PRESENCE
    this.#throttle.put(null)
    if (lost.length > 0) this.#queue(Object.fromEntries(lost))
  }

  /** The fields of the user as they will be when the server has all changes. Returns `before` itself if it is the same. */
  shown(known: Presence, before: Presence): Presence {
    const shown = merged(known, this.#wanted)
    return sameJson(shown, before) ? before : shown
  }

  /** Another connection of the user, or this one, has changed fields. Its values are newer than those set here before. */
  changed(change: PresenceChange): void {
    const isNewer = (name: string) => name in change && !(name in this.#unsent)
    const entries = Object.entries(this.#wanted)
    this.#wanted = Object.fromEntries(
      entries.map(([name, value]) => [name, isNewer(name) ? change[name] : value]),
    )
  }

  /** Returns the change to send now, or null. */
  take(now: number): PresenceChange | null {
    const change = this.#throttle.take(now)
    if (change !== null) this.#unsent = NO_PRESENCE
    return change
  }

  get wakeAt(): number {
    return this.#throttle.wakeAt
  }

  /** The server has these fields, and has refused a change that was sent. Only unsent changes stay beside them. */
  refused(known: Presence): void {
    const kept = Object.entries(this.#wanted).filter(
      ([name, value]) => name in this.#unsent || sameJson(known[name] ?? null, value),
    )
    this.#wanted = Object.fromEntries(kept)
  }

  #lost(known: Presence): [string, unknown][] {
    return Object.entries(this.#wanted).filter(([name, value]) => !sameJson(known[name] ?? null, value))
  }

  #queue(change: PresenceChange): void {
    this.#unsent = { ...this.#unsent, ...change }
    this.#throttle.put(this.#unsent)
  }
}
