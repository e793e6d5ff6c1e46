/** Rendering on a server, without a page or a WebSocket. No client connects there. */

import { createElement as h } from "react"
import { renderToString } from "react-dom/server"
import { expect, test, vi } from "vitest"
import { StudyroomClient } from "../../src/index.js"
import {
  StudyroomProvider,
  useChat,
  useConnection,
  useCursor,
  useCursors,
  useOthers,
  useRoom,
  useSelf,
  useStudyroom,
  useTyping,
  useWebSocket,
} from "../../src/react/index.js"

function Inside() {
  const counts = [useOthers().length, useCursors().size, useTyping().length, useChat().messages.length]
  return h(
    "p",
    null,
    useConnection().status,
    useRoom("any").status,
    String(useSelf()),
    String(useCursor("x")),
    counts.join(),
  )
}

function Page() {
  const { isConnected, lastMessage } = useWebSocket("/ws")
  return h(
    StudyroomProvider,
    { client: useStudyroom({ url: "/ws" }) },
    h(Inside),
    `${isConnected} ${lastMessage}`,
  )
}

test("the hooks render their first values before anything happened", () => {
  expect(renderToString(h(Page)).replaceAll("<!-- -->", "")).toBe("<p>idlenonenullnull0,0,0,0</p>false null")
})

test("making a client starts nothing", () => {
  vi.useFakeTimers()
  new StudyroomClient({ url: "/ws" }).join("any")
  expect(vi.getTimerCount()).toBe(0)
  vi.useRealTimers()
})

test("a hook outside of a provider names the missing provider", () => {
  expect(() => renderToString(h(Inside))).toThrow("<StudyroomProvider>")
})
