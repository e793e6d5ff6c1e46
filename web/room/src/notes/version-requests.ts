/** Versions of the notes: named states that the server keeps. */

import { named } from "../face"
import { memory } from "../memory"
import { NAME } from "./use-notes"

export interface Version {
  id: string
  name: string
  /** Unix seconds. */
  created_at: number
  author: string
}

/** `code`: as in the protocol, or `connection_lost`. */
export class Refused extends Error {
  constructor(readonly code: string) {
    super(code)
  }
}

/** Each of these rejects with Refused. The newest version comes first. */
export async function listVersions(roomId: string): Promise<Version[]> {
  const { versions } = (await request("GET", roomId, "")) as { versions: Version[] }
  return versions.reverse()
}

/** Keep the notes as the server has them now. */
export const keepVersion = (roomId: string, name: string) => request("POST", roomId, "", { name })

/** Give the notes the contents of a version, for everyone. */
export const restoreVersion = (roomId: string, { id }: Version) => request("POST", roomId, `/${id}/restore`)

async function request(method: string, roomId: string, path: string, body?: object): Promise<unknown> {
  const address = new URL(
    `api/v1/rooms/${roomId}/documents/${NAME}/versions${path}`,
    new URL(document.baseURI),
  )
  const headers: Record<string, string> = body ? { "Content-Type": "application/json" } : {}
  // A guest is the same as in the room. The browser sends the token of another user, if it is in a cookie.
  const guest = memory.guestToken.get()
  if (guest) {
    headers.Authorization = `Guest ${guest}`
    address.searchParams.set("username", named(memory.name.get() ?? "", memory.emoji.get() ?? ""))
  }
  let answer: Response
  try {
    answer = await fetch(address, { method, headers, body: body ? JSON.stringify(body) : null })
  } catch {
    throw new Refused("connection_lost")
  }
  if (answer.ok) return answer.status === 204 ? null : answer.json()
  throw new Refused(await codeOf(answer))
}

async function codeOf(answer: Response): Promise<string> {
  try {
    return ((await answer.json()) as { code: string }).code
  } catch {
    return "internal" // a proxy has answered
  }
}
