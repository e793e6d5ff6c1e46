/**
 * The requests of a moderator. The browser sends the user's token with them, if it is in a cookie, and the server
 * decides.
 */

import type { Client } from "@studyroom/client"

let signedIn = false

/** Learn from `Welcome` whether the user has a token. Guests moderate nothing, so the page asks nothing for them. */
export function watchAccount(client: Client): void {
  client.on("message", ({ message }) => {
    if (message.type === "Welcome") signedIn = message.payload.guest_token == null
  })
}

/** Whether the user's name is that of a token. */
export function hasToken(): boolean {
  return signedIn
}

/** Whether the user may moderate the room. */
export async function mayModerate(roomId: string): Promise<boolean> {
  return signedIn && (await request("GET", `${roomId}/bans?limit=1`)) === null
}

/** Each returns the code of an error, or null if the server has done it. */
export const removeMember = (roomId: string, userId: string) =>
  request("DELETE", `${roomId}/members/${userId}`)
export const ban = (roomId: string, userId: string, seconds: number) =>
  request("PUT", `${roomId}/bans/${userId}`, { seconds })
export const deleteMessage = (roomId: string, seq: number, id: string) =>
  request("DELETE", `${roomId}/messages/${seq}?id=${id}`)

async function request(method: string, path: string, body?: object): Promise<string | null> {
  try {
    const answer = await fetch(new URL(`api/v1/rooms/${path}`, document.baseURI), {
      method,
      headers: body ? { "Content-Type": "application/json" } : {},
      body: body ? JSON.stringify(body) : null,
    })
    return answer.ok ? null : ((await answer.json()) as { code: string }).code
  } catch {
    return "connection_lost"
  }
}
