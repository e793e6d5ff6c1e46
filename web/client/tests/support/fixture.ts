/** The gateways, a balancer before them, and clients that are closed at the end of the test. */

import { randomUUID } from "node:crypto"
import { test as base, inject } from "vitest"
import { WebSocket } from "ws"
import { type ClientOptions, type Readable, StudyroomClient } from "../../src/index.js"
import { Balancer } from "./balancer.js"
import { type Gateway, gatewaysIn } from "./stack.js"

export const DEADLINE_MS = 20_000

interface Fixture {
  gateways: () => Gateway[]
  balancer: Balancer
  /** A client that is not connected yet. It reconnects fast by default. */
  newClient: (options?: Partial<ClientOptions>) => StudyroomClient
  /** The same client, in a room. */
  member: (username: string, roomId: string, options?: Partial<ClientOptions>) => Promise<StudyroomClient>
  roomId: string
}

export const test = base.extend<Fixture>({
  // biome-ignore lint/correctness/noEmptyPattern: the runner reads which fixtures are used
  gateways: async ({}, use) => {
    await use(() => gatewaysIn(inject("stackTable")))
  },
  balancer: async ({ gateways }, use) => {
    const balancer = new Balancer(gateways)
    await balancer.start()
    await use(balancer)
    balancer.stop()
  },
  newClient: async ({ balancer }, use) => {
    const clients: StudyroomClient[] = []
    await use((options) => {
      const reconnect = { baseMs: 50, capMs: 500 }
      const identity = "memory"
      const client = new StudyroomClient({ url: balancer.url, WebSocket, reconnect, identity, ...options })
      clients.push(client)
      return client
    })
    for (const client of clients) client.close()
  },
  member: async ({ newClient }, use) => {
    await use(async (username, roomId, options) => {
      const client = newClient({ username, ...options })
      client.connect()
      client.join(roomId)
      await until(client.room, (room) => room.status === "joined")
      return client
    })
  },
  // biome-ignore lint/correctness/noEmptyPattern: the same
  roomId: async ({}, use) => {
    await use(randomUUID())
  },
})

/** Returns the first value for which `holds` is true. Rejects after the deadline. */
export function until<T>(
  readable: Readable<T>,
  holds: (value: T) => boolean,
  deadlineMs = DEADLINE_MS,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => {
      end()
      reject(new Error(`not so in ${deadlineMs} ms: ${holds}, but ${show(readable.get())}`))
    }, deadlineMs)
    const check = () => {
      if (!holds(readable.get())) return
      clearTimeout(late)
      end()
      resolve(readable.get())
    }
    const end = readable.subscribe(check)
    check()
  })
}

function show(value: unknown): string {
  return JSON.stringify(value instanceof Map ? [...value] : value)
}

export function contents(client: StudyroomClient): string[] {
  return client.messages.get().map((message) => message.content)
}

export function sent(client: StudyroomClient, count: number, deadlineMs = DEADLINE_MS) {
  return until(
    client.messages,
    (messages) => messages.filter((message) => message.state === "sent").length >= count,
    deadlineMs,
  )
}
