/** Names for the ids in messages. */

import type { Member } from "@studyroom/client"
import { useClient, useOthers, useSelf } from "@studyroom/client/react"
import { useMemo } from "react"
import { face } from "../../face"
import type { Named } from "./mentions"

export interface Person extends Named {
  /** The name with the emoji before it, if there is one. */
  username: string
}

/** The other members, by name. */
export function usePersons(): readonly Person[] {
  const flat = useOthers(idsAndNames)
  return useMemo(() => {
    const people: Person[] = []
    for (let index = 0; index < flat.length; index += 2) {
      const [userId, username] = flat.slice(index, index + 2) as [string, string]
      people.push({ userId, username, name: face(username).name })
    }
    return people.sort((one, other) => one.name.localeCompare(other.name))
  }, [flat])
}

export type NameOf = (userId: string) => string | undefined

/** Returns the names of members, and of people who have left but have written something. */
export function useNameOf(): NameOf {
  const client = useClient()
  const self = useSelf()
  const others = usePersons()
  return useMemo(() => {
    const known = new Map(others.map(({ userId, name }) => [userId, name]))
    if (self) known.set(self.userId, face(self.username).name)
    return (userId) => {
      if (known.has(userId)) return known.get(userId)
      const written = client.messages.get().find((message) => message.userId === userId)
      return written && face(written.username).name
    }
  }, [client, self, others])
}

/** Strings, which a change of presence leaves equal. */
function idsAndNames(members: readonly Member[]): string[] {
  return members.flatMap(({ userId, username }) => [userId, username])
}
