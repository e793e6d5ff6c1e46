/**
 * People with the client for browsers, who write, point and type in their rooms. The first line of the input has the
 * address and the people, each further line a command (`commands` below). Each event is a line of the output:
 * `tests/kube/history.py` describes them.
 */

import { createInterface } from "node:readline"
import { WebSocket } from "ws"
import { StudyroomClient } from "../../dist/index.js"

const WRITES_EVERY_MS = [600, 1400]
const POINTS_EVERY_MS = 250
const TYPES = 0.1
const ALL_MESSAGES = 1_000_000
const LEAVE_MS = 500

const now = () => (performance.timeOrigin + performance.now()) / 1000
const emit = (event) => process.stdout.write(`${JSON.stringify({ at: now(), ...event })}\n`)
const between = ([least, most]) => least + Math.random() * (most - least)

/** One that is closed before it has opened emits an error. */
class Socket extends WebSocket {
  constructor(...options) {
    super(...options)
    this.on("error", () => {})
  }
}

class Person {
  #client
  #name
  #room
  #silent = false
  #inside = false
  #entered = false

  constructor({ user, token, room }, url) {
    this.#name = user
    this.#room = room
    const options = { url, token, identity: "memory", WebSocket: Socket, historyLimit: ALL_MESSAGES }
    this.#client = new StudyroomClient(options)
    const { connection, room: place } = this.#client
    for (const readable of [connection, place]) readable.subscribe(() => this.#changed())
    this.#client.on("chat", ({ message: { id, seq } }) => this.#emit("saw", { id, seq }))
    this.#client.on("userLeft", ({ member }) => this.#emit("left", { of: member.userId }))
    this.#client.on("historyReset", () => this.#emit("reset"))
    this.#client.on("close", ({ code, reconnects, cause }) =>
      this.#emit("closed", { code, reconnects, cause: cause.code }),
    )
    this.#client.connect()
    // A refusal shows in the end, when the others miss this person.
    this.#client.join(room).catch(() => {})
    setInterval(() => this.#point(), POINTS_EVERY_MS)
    this.#writeSoon()
  }

  fallSilent() {
    this.#silent = true
  }

  /** Emit the others whom this person sees, and the messages in the order in which they are shown. */
  look() {
    const others = this.#client.others.get().map(({ userId }) => userId)
    const shown = this.#client.messages.get().map(({ id, seq }) => ({ id, seq }))
    this.#emit("looks", { others, shown })
  }

  leave() {
    this.#client.close()
  }

  #emit(event, fields = {}) {
    emit({ person: this.#name, event, ...fields })
  }

  #changed() {
    const inside =
      this.#client.connection.get().status === "open" && this.#client.room.get().status === "joined"
    if (inside === this.#inside) return
    this.#inside = inside
    this.#entered ||= inside
    this.#emit(inside ? "in" : "out")
  }

  /** Somebody who has been in the room writes on while the connection is lost. */
  #writeSoon() {
    setTimeout(() => {
      if (this.#silent) return
      if (this.#entered) this.#write()
      this.#writeSoon()
    }, between(WRITES_EVERY_MS))
  }

  #write() {
    const sent = this.#client.sendChat(`${this.#name} is in ${this.#room}`)
    const { id } = sent
    this.#emit("wrote", { id })
    sent.then(
      ({ seq }) => this.#emit("stored", { id, seq }),
      ({ code }) => this.#emit("failed", { id, code }),
    )
  }

  #point() {
    if (this.#silent || !this.#inside) return
    this.#client.moveCursor(Math.random(), Math.random())
    if (Math.random() < TYPES) this.#client.setTyping(true)
  }
}

const people = []
const commands = {
  fallSilent: () => {
    for (const person of people) person.fallSilent()
  },
  look: () => {
    for (const person of people) person.look()
  },
  leave: () => {
    for (const person of people) person.leave()
    setTimeout(() => process.exit(0), LEAVE_MS)
  },
}

for await (const line of createInterface({ input: process.stdin })) {
  const message = JSON.parse(line)
  if (message.people) people.push(...message.people.map((person) => new Person(person, message.url)))
  else commands[message.do]()
}
process.exit(0)
