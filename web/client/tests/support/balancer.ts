/** A load balancer that knows where rooms live. It can break and stall the connections through it. */

import { connect, createServer, type Server, type Socket } from "node:net"
import { Transform } from "node:stream"
import type { Gateway } from "./stack.js"

const KILL_AFTER_MS = 300

export class Balancer {
  #server: Server = createServer((client) => this.#accept(client))
  #pairs = new Map<Socket, { gateway: Socket; to: string }>()
  #up = true
  #stalled = false
  #prefer: string | null = null
  /** Whether WebSockets get through, are refused, or end soon after they have opened. */
  webSockets: "pass" | "refuse" | "kill" = "pass"
  /** So many of the next `POST` requests go to a gateway that stands still. */
  postsToHang = 0
  readonly #homes = new Map<string, string | null>()
  /** The request lines that came, the newest last. */
  readonly requests: string[] = []
  /** The times at which connections came, on the clock of `performance.now()`. */
  readonly arrivals: number[] = []
  readonly #gateways: () => Gateway[]

  constructor(gateways: () => Gateway[]) {
    this.#gateways = gateways
  }

  async start(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve))
  }

  stop(): void {
    this.cut()
    this.#server.close()
  }

  get url(): string {
    const address = this.#server.address()
    if (address === null || typeof address === "string") throw new Error("the balancer does not listen")
    return `ws://127.0.0.1:${address.port}/ws`
  }

  /** Choose the gateway of new connections, for as long as it accepts them. */
  prefer(name: string): void {
    this.#prefer = name
  }

  /** Choose the gateway of connections that name this room, for as long as it accepts them. With null they break. */
  home(room: string, name: string | null): void {
    this.#homes.set(room, name)
  }

  /** Break all connections, and new ones until `heal`. */
  cut(): void {
    this.#up = false
    for (const [client, { gateway }] of this.#pairs) {
      client.resetAndDestroy()
      gateway.resetAndDestroy()
    }
  }

  /** Stop all traffic without closing a connection. */
  stall(): void {
    this.#stalled = true
    for (const [client, { gateway }] of this.#pairs) {
      client.unpipe().pause()
      gateway.unpipe().pause()
    }
  }

  /** Accept and forward new connections again. Stalled ones stay stalled. */
  heal(): void {
    this.#up = true
    this.#stalled = false
  }

  /** The gateway of the newest connection. */
  get newest(): string {
    const newest = this.open.at(-1)
    if (!newest) throw new Error("no connection")
    return newest
  }

  /** The gateway of each open connection. */
  get open(): string[] {
    return [...this.#pairs.values()].map(({ to }) => to)
  }

  #accept(client: Socket): void {
    this.arrivals.push(performance.now())
    client.on("error", () => {})
    if (!this.#up) {
      client.resetAndDestroy()
      return
    }
    if (this.#stalled) return
    client.once("data", (head) => {
      client.pause()
      const line = String(head).split("\r\n", 1)[0] ?? ""
      this.requests.push(line)
      if (this.#hangs(head)) return
      if (line.startsWith("GET /ws") && this.webSockets !== "pass") {
        if (this.webSockets === "refuse") {
          client.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
          return
        }
        setTimeout(() => client.resetAndDestroy(), KILL_AFTER_MS)
      }
      const home = this.#homes.get(roomIn(line) ?? "")
      const first = home ?? this.#prefer
      const gateways = this.#gateways().sort((a) => (a.name === first ? -1 : 1))
      this.#forward(client, head, home === null ? [] : gateways)
    })
  }

  #forward(client: Socket, head: Buffer, [first, ...others]: Gateway[]): void {
    if (!first) {
      client.resetAndDestroy()
      return
    }
    const gateway = connect(Number(first.url.port), first.url.hostname)
    gateway.once("connect", () => {
      this.#pairs.set(client, { gateway, to: first.name })
      gateway.write(head)
      client.pipe(this.#requestsAfter()).pipe(gateway).pipe(client)
      gateway.once("close", () => this.#gone(client))
      client.once("close", () => this.#gone(client))
    })
    gateway.once("error", () => {
      if (!this.#pairs.has(client)) this.#forward(client, head, others)
    })
  }

  /** Forwards the later requests of a connection, up to one that hangs. */
  #requestsAfter(): Transform {
    let hangs = false
    return new Transform({
      transform: (chunk: Buffer, _, done) => {
        hangs ||= this.#hangs(chunk)
        done(null, hangs ? null : chunk)
      },
    })
  }

  #hangs(chunk: Buffer): boolean {
    if (this.postsToHang === 0 || !chunk.toString("latin1").startsWith("POST ")) return false
    this.postsToHang -= 1
    return true
  }

  #gone(client: Socket): void {
    this.#pairs.get(client)?.gateway.destroy()
    this.#pairs.delete(client)
    client.destroy()
  }
}

/** The room that a request line names. */
export function roomIn(line: string): string | null {
  return new URL(line.split(" ")[1] ?? "", "ws://localhost").searchParams.get("room")
}
