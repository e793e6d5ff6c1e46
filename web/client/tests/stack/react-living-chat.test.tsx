// @vitest-environment jsdom
/** The hooks for living chat, in strict mode, against the stack. */

import { useState } from "react"
import { expect, vi } from "vitest"
import { WebSocket } from "ws"
import type { Client } from "../../src/index.js"
import { livingChat } from "../../src/living-chat.js"
import {
  StudyroomProvider,
  useClient,
  useLivingChat,
  useReadBy,
  useRoom,
  useStudyroom,
} from "../../src/react/index.js"
import { DEADLINE_MS, sent, test, until } from "../support/fixture.js"
import { render } from "../support/render.js"

const soon = <T,>(check: () => T) => vi.waitFor(check, { timeout: DEADLINE_MS, interval: 10 })

interface Seen {
  open?: () => void
  chat?: ReturnType<typeof useLivingChat>
  client?: Client
}

function Messages({ seen }: { seen: Seen }) {
  const chat = useLivingChat()
  const readBy = useReadBy(chat.messages.at(-1) ?? { id: "", seq: null })
  seen.chat = chat
  const lines = chat.messages.map(({ content, reacted }) => [content, ...reacted.map(({ count }) => count)])
  return <p>{[...lines.flat(), `read by ${readBy.length}`].join(" ")}</p>
}

function Room({ roomId, seen }: { roomId: string; seen: Seen }) {
  const { status } = useRoom(roomId)
  const [isOpen, open] = useState(false)
  seen.client = useClient()
  seen.open = () => open(true)
  return isOpen ? <Messages seen={seen} /> : <p>{status}</p>
}

function Page({ url, roomId, seen }: { url: string; roomId: string; seen: Seen }) {
  return (
    <StudyroomProvider client={useStudyroom({ url, username: "Page", WebSocket })}>
      <Room roomId={roomId} seen={seen} />
    </StudyroomProvider>
  )
}

test("a component that comes after an edit shows it, and later changes too", async ({
  balancer,
  member,
  roomId,
}) => {
  const ann = await member("Ann", roomId)
  const anns = livingChat(ann)
  const seen: Seen = {}
  const page = render(<Page url={balancer.url} roomId={roomId} seen={seen} />)
  await soon(() => expect(page.text()).toBe("joined"))
  const message = await ann.sendChat("one")
  await anns.edit(message, "two")
  await anns.edit(message, "three")
  const last = await ann.sendChat("last")
  await soon(() => expect(seen.client?.messages.get().length).toBe(2))
  expect(seen.client?.messages.get()[0]?.content).toBe("one")
  seen.open?.()
  await soon(() => expect(page.text()).toBe("three last read by 0"))
  anns.markRead(last)
  await seen.chat?.react(message, "+")
  await soon(() => expect(page.text()).toBe("three 1 last read by 1"))
  await seen.chat?.reply(last, "me too")
  await sent(ann, 3)
  await until(anns.messages, (messages) => messages[2]?.replyTo === last.id)
  page.unmount()
})
