"use client"

import { useRef } from "react"
import type { Member, Presence, PresenceChange, Readable } from "../types.js"
import { useClient } from "./context.js"
import { useReadable } from "./hooks.js"

/** Returns the user's own fields, and the function that changes some of them. */
export function useMyPresence(): [Presence, (change: PresenceChange) => void] {
  const client = useClient()
  return [useReadable(client.presence), client.updatePresence]
}

/**
 * Returns the other members, or the part of them that the selector returns. Renders again only when that part changes,
 * or an element of it if it is an array.
 */
export function useOthers(): readonly Member[]
export function useOthers<T>(selector: (others: readonly Member[]) => T): T
export function useOthers<T>(selector?: (others: readonly Member[]) => T): T | readonly Member[] {
  const { others } = useClient()
  return useSelected<readonly Member[], T | readonly Member[]>(others, selector ?? everyone)
}

const everyone = (others: readonly Member[]) => others

function useSelected<T, S>({ subscribe, get }: Readable<T>, selector: (value: T) => S): S {
  const last = useRef<{ selected: S } | null>(null)
  const select = () => {
    const selected = selector(get())
    if (last.current === null || !isSame(last.current.selected, selected)) last.current = { selected }
    return last.current.selected
  }
  return useReadable({ subscribe, get: select })
}

function isSame(one: unknown, other: unknown): boolean {
  if (!Array.isArray(one) || !Array.isArray(other)) return Object.is(one, other)
  return one.length === other.length && one.every((element, index) => Object.is(element, other[index]))
}
