/** The other members of a room, and those of them that are typing. Every operation returns the change. */

import type { UserPresence } from "../protocol.js"
import type { Member, PresenceChange } from "../types.js"
import { NONE } from "./none.js"
import { merged, NO_PRESENCE, sameJson } from "./presence.js"

export interface RosterChange {
  joined: Member[]
  left: Member[]
}

export class Roster {
  /** Members by user id, in the order of arrival. */
  readonly #members = new Map<string, Member>()
  readonly #typing = new Set<string>()
  #listed: readonly Member[] | null = NONE
  #listedTyping: readonly Member[] | null = NONE

  /** The same array until something changes. */
  get members(): readonly Member[] {
    this.#listed ??= [...this.#members.values()]
    return this.#listed
  }

  /** Members that are typing. The same array until something changes. */
  get typing(): readonly Member[] {
    this.#listedTyping ??= this.members.filter(({ userId }) => this.#typing.has(userId))
    return this.#listedTyping
  }

  has(userId: string): boolean {
    return this.#members.has(userId)
  }

  /** Replace the roster. Members that stay keep their places in it. */
  load(users: readonly UserPresence[]): RosterChange {
    const present = new Set(users.map((user) => user.user_id))
    const left = this.members.filter((member) => !present.has(member.userId))
    for (const { userId } of left) this.remove(userId)
    const joined = users.map((user) => this.put(user)).filter((member) => member !== null)
    return { joined, left }
  }

  /** Add a member, or update the name and avatar. Returns the member if it is new here. */
  put(user: UserPresence): Member | null {
    const known = this.#members.get(user.user_id)
    const member = updated(known, user)
    if (member === known) return null
    this.#members.set(user.user_id, member)
    this.#listed = this.#listedTyping = null
    return known ? null : member
  }

  /** Change fields of a member's presence. */
  changePresence(userId: string, change: PresenceChange): void {
    const known = this.#members.get(userId)
    const member = known && changed(known, change)
    if (!member || member === known) return
    this.#members.set(userId, member)
    this.#listed = this.#listedTyping = null
  }

  remove(userId: string): Member | null {
    const member = this.#members.get(userId) ?? null
    this.setTyping(userId, false)
    if (this.#members.delete(userId)) this.#listed = null
    return member
  }

  /** Take a typing notice. If it comes before its member, it is shown when the member comes. */
  setTyping(userId: string, isTyping: boolean): void {
    const changed = isTyping !== this.#typing.has(userId)
    if (isTyping) this.#typing.add(userId)
    else this.#typing.delete(userId)
    if (changed) this.#listedTyping = null
  }

  nobodyTypes(): void {
    for (const userId of [...this.#typing]) this.setTyping(userId, false)
  }
}

/** Returns `known` itself if nothing changed. */
export function updated(known: Member | null | undefined, user: UserPresence): Member {
  const { user_id: userId, username, avatar_url: avatarUrl = null } = user
  const own = user.presence ?? NO_PRESENCE
  const presence = known && sameJson(known.presence, own) ? known.presence : own
  const same = known?.userId === userId && known.username === username && known.avatarUrl === avatarUrl
  return same && known.presence === presence ? known : { userId, username, avatarUrl, presence }
}

/** Returns `known` itself if nothing changed. */
export function changed(known: Member, change: PresenceChange): Member {
  const presence = merged(known.presence, change)
  return presence === known.presence ? known : { ...known, presence }
}
