/** Who is in the room beside oneself, and who of them is typing. Every operation returns what it changed. */

import type { UserPresence } from "../protocol.js"
import type { Member } from "../types.js"
import { NONE } from "./none.js"

export interface RosterChange {
  joined: Member[]
  left: Member[]
}

export class Roster {
  /** In the order of arrival. */
  readonly #members = new Map<string, Member>()
  readonly #typing = new Set<string>()
  #listed: readonly Member[] | null = NONE
  #listedTyping: readonly Member[] | null = NONE

  /** The same array while nothing changes. */
  get members(): readonly Member[] {
    this.#listed ??= [...this.#members.values()]
    return this.#listed
  }

  /** Likewise. */
  get typing(): readonly Member[] {
    this.#listedTyping ??= this.members.filter(({ userId }) => this.#typing.has(userId))
    return this.#listedTyping
  }

  has(userId: string): boolean {
    return this.#members.has(userId)
  }

  /** Take a whole roster: who stays keeps the place. */
  load(users: readonly UserPresence[]): RosterChange {
    const present = new Set(users.map((user) => user.user_id))
    const left = this.members.filter((member) => !present.has(member.userId))
    for (const { userId } of left) this.remove(userId)
    const joined = users.map((user) => this.put(user)).filter((member) => member !== null)
    return { joined, left }
  }

  /** The member when it is new here; who is here already gets another name or avatar. */
  put(user: UserPresence): Member | null {
    const known = this.#members.get(user.user_id)
    const member = updated(known, user)
    if (member === known) return null
    this.#members.set(user.user_id, member)
    this.#listed = this.#listedTyping = null
    return known ? null : member
  }

  remove(userId: string): Member | null {
    const member = this.#members.get(userId) ?? null
    this.setTyping(userId, false)
    if (this.#members.delete(userId)) this.#listed = null
    return member
  }

  /** Typing may be told before its member: then it shows when the member comes. */
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

/** The same object when nothing changed. */
export function updated(known: Member | null | undefined, user: UserPresence): Member {
  const { user_id: userId, username, avatar_url: avatarUrl = null } = user
  const same = known?.userId === userId && known.username === username && known.avatarUrl === avatarUrl
  return same ? known : { userId, username, avatarUrl }
}
