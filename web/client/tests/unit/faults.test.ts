/** Mistakes of developers: they are in the state and once on the console, and are not repeated in silence. */

import { afterEach, beforeEach, expect, test, vi } from "vitest"
import { type ClientOptions, StudyroomClient } from "../../src/index.js"

beforeEach(() => {
  vi.stubGlobal("WebSocket", undefined)
  vi.spyOn(console, "error").mockImplementation(() => {})
})

afterEach(() => {
  vi.unstubAllGlobals()
  vi.restoreAllMocks()
})

class Throwing {
  readyState = 0
  onmessage = null
  onclose = null
  onerror = null
  constructor() {
    throw new SyntaxError("the scheme is not ws")
  }
  send() {}
  close() {}
}

const MISTAKES: [code: string, options: ClientOptions, words: string][] = [
  ["invalid_url", { url: "/ws" }, 'not a complete address: "/ws"'],
  ["no_websocket", { url: "ws://127.0.0.1:9/ws" }, "no_websocket"],
  ["invalid_url", { url: "ftp://127.0.0.1/ws", WebSocket: Throwing }, "the scheme is not ws"],
]

test.each(MISTAKES)("%s stops the client", async (code, options, words) => {
  const client = new StudyroomClient(options)
  for (const _ of [1, 2]) {
    client.connect()
    await vi.waitFor(() => expect(client.connection.get().status).toBe("closed"))
  }
  const cause = { code, message: expect.stringContaining(words) }
  expect(client.connection.get()).toMatchObject({ status: "closed", cause })
  expect(console.error).toHaveBeenCalledTimes(1)
  expect(console.error).toHaveBeenCalledWith(expect.stringContaining(words))
})

test("with `debug`, the application reads what happens, and never a token", async () => {
  const events: [string, object][] = []
  const client = new StudyroomClient({
    url: "ws://127.0.0.1:9/ws",
    token: "secret",
    debug: (...event) => events.push(event),
  })
  client.connect()
  await vi.waitFor(() => expect(client.connection.get().status).toBe("closed"))
  expect(events.map(([event]) => event)).toEqual(["connecting", "closed"])
  expect(JSON.stringify(events)).not.toContain("secret")
})
