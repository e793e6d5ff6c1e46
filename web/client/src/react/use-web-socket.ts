import { useCallback, useEffect, useMemo, useState } from "react"
import { StudyroomClient } from "../client.js"
import type { ClientMessage, Pong, ServerMessage } from "../protocol.js"
import { hold } from "./holds.js"

/** A message of the server. `payload` can be read before `type` is looked at: of unit messages it is undefined. */
export type LastMessage = Exclude<ServerMessage, Pong> | { type: "Pong"; payload: undefined }

export interface UseWebSocket {
  isConnected: boolean
  lastMessage: LastMessage | null
  send: (type: string, payload?: unknown) => void
  joinRoom: (roomId: string) => void
  sendChat: (content: string) => void
}

/**
 * One connection, as a hook: the last message, and what to send.
 *
 * It comes back by itself when it is lost, into the room it was in, and then tells the messages that were missed and no
 * others. What is sent while there is no connection is dropped, except for the room and for `sendChat`.
 */
export function useWebSocket(url: string): UseWebSocket {
  const client = useMemo(() => new StudyroomClient({ url }), [url])
  const [isConnected, setConnected] = useState(false)
  const [lastMessage, setLastMessage] = useState<LastMessage | null>(null)
  useEffect(() => {
    const ends = [
      client.on("open", () => setConnected(true)),
      client.on("close", () => setConnected(false)),
      client.on("message", ({ message }) => setLastMessage(message as LastMessage)),
    ]
    client.connect()
    const release = hold(client, "connection", client.close)
    return () => {
      for (const end of ends) end()
      release()
      setConnected(false)
    }
  }, [client])
  return { isConnected, lastMessage, ...useActions(client) }
}

function useActions(client: StudyroomClient): Pick<UseWebSocket, "send" | "joinRoom" | "sendChat"> {
  const send = useCallback(
    (type: string, payload?: unknown) => {
      const { room_id: roomId } = (payload ?? {}) as { room_id?: unknown }
      // These change which room is joined again.
      if (type === "JoinRoom" && typeof roomId === "string") client.join(roomId)
      else if (type === "LeaveRoom") client.leave()
      else client.send({ type, payload } as ClientMessage)
    },
    [client],
  )
  const joinRoom = client.join
  const sendChat = useCallback(
    (content: string) => {
      if (content.trim() && client.room.get().status !== "none") client.sendChat(content)
      // The server says what is wrong.
      else send("Chat", { content })
    },
    [client, send],
  )
  return { send, joinRoom, sendChat }
}
