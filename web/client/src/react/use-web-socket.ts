import type { Pong, ServerMessage } from "../protocol.js"

/** A message of the server. `payload` can be read before `type` is looked at: unit messages have none. */
export type LastMessage = Exclude<ServerMessage, Pong> | { type: "Pong"; payload: undefined }

export interface UseWebSocket {
  isConnected: boolean
  lastMessage: LastMessage | null
  send: (type: string, payload?: unknown) => void
  joinRoom: (roomId: string) => void
  sendChat: (content: string) => void
}

export function useWebSocket(_url: string): UseWebSocket {
  throw new Error("not yet")
}
