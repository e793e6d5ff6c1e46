/** Code that was written for the hook of the original protocol. It must compile unchanged. */

import { useCallback, useEffect, useState } from "react"
import { renderToString } from "react-dom/server"
import { expect, test } from "vitest"
import { useWebSocket } from "../../src/react/index.js"

// biome-ignore lint/suspicious/noExplicitAny: as it stands there
type ServerMessage = { type: string; payload: any }

function Room({ id }: { id: string }) {
  const { isConnected, lastMessage, send, joinRoom, sendChat } = useWebSocket("/ws")
  const [messages, setMessages] = useState<ServerMessage[]>([])
  const [names, setNames] = useState<Record<string, string>>({})
  useEffect(() => {
    if (!lastMessage) return
    setMessages((before) => [...before, lastMessage])
    if (lastMessage.type === "UserJoined") {
      setNames((before) => ({ ...before, [lastMessage.payload.user_id]: lastMessage.payload.username }))
    }
  }, [lastMessage])
  const typing = useCallback((isTyping: boolean) => send("Typing", { is_typing: isTyping }), [send])
  return (
    <section>
      <button type="button" onClick={() => joinRoom(id)} onKeyDown={() => typing(true)}>
        {isConnected ? "join" : "wait"}
      </button>
      <button type="button" onClick={() => sendChat("Hello, room!")}>
        {messages.map(({ payload }) => payload.content)} {Object.keys(names).length}
      </button>
    </section>
  )
}

test("a component for the original hook renders", () => {
  expect(renderToString(<Room id="550e8400-e29b-41d4-a716-446655440000" />)).toContain("wait")
})
