/** The name of the user, which is that of all tabs of the person. */

import { type Client, isBlank } from "@studyroom/client"
import { useEffect } from "react"
import { lengthOf } from "./chat/length"
import { named } from "./face"
import { memory } from "./memory"
import { texts } from "./texts"

/** The server cuts names at 100 characters, and the sign is one of them. */
export const LONGEST_NAME = 60

/** The reason why a name cannot be used, or null. */
export function faultOf(name: string): string | null {
  if (isBlank(name)) return texts().nameInvisible
  const length = lengthOf(name.trim())
  return length > LONGEST_NAME ? texts().nameTooLong({ longest: LONGEST_NAME, length }) : null
}

/** The name with its sign, as the others get it. */
export function ownName(): string {
  return named(memory.name.get() ?? "", memory.emoji.get() ?? "")
}

/** Show the user under another name from now on, in this tab and in the person's other tabs. */
export function takeName(client: Client, name: string): void {
  memory.name.set(name)
  client.rename(ownName())
}

/** Takes a name that was given in another tab. */
export function useNameOfOtherTabs(client: Client): void {
  useEffect(() => {
    const taken = ({ key }: StorageEvent) => {
      if (key === memory.name.key && memory.name.get() !== null) client.rename(ownName())
    }
    addEventListener("storage", taken)
    return () => removeEventListener("storage", taken)
  }, [client])
}
