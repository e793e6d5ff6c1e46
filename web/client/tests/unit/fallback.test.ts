/** The choice between WebSocket and HTTP, and the reading of events. */

import { expect, test } from "vitest"
import { Choice } from "../../src/fallback/choice.js"
import { EventReader } from "../../src/fallback/events.js"

test("after two WebSockets in a row that nothing came through, the next connection uses HTTP", () => {
  const choice = new Choice(1000)
  choice.webSocketBroke(null)
  expect(choice.usesHttp(0)).toBe(false)
  choice.webSocketBroke(400)
  expect(choice.usesHttp(0)).toBe(true)
})

test("a WebSocket that has lasted or was closed properly is no sign of a block", () => {
  const choice = new Choice(1000)
  choice.webSocketBroke(null)
  choice.webSocketBroke(5000)
  choice.webSocketBroke(null)
  expect(choice.usesHttp(0)).toBe(false)
  choice.webSocketWorks()
  choice.webSocketBroke(null)
  expect(choice.usesHttp(0)).toBe(false)
})

test("HTTP is used until its time is over, or a WebSocket has got through", () => {
  const choice = new Choice(1000)
  choice.httpWorks(5000)
  expect(choice.usesHttp(5999)).toBe(true)
  expect(choice.usesHttp(6000)).toBe(false)
  choice.httpWorks(7000)
  choice.webSocketWorks()
  expect(choice.usesHttp(7001)).toBe(false)
})

test("where nothing comes over HTTP either, WebSockets are tried again", () => {
  const choice = new Choice(1000)
  choice.webSocketBroke(null)
  choice.webSocketBroke(null)
  choice.httpBroke()
  expect(choice.usesHttp(0)).toBe(false)
})

test("events in any pieces are the same events, and comments are none", () => {
  const text = ': padding\n\nevent: open\ndata: {"a": 1}\n\ndata: {"b":":"}\n\nevent: ping\ndata:\n\n'
  const expected = [
    { name: "open", data: '{"a": 1}' },
    { name: "message", data: '{"b":":"}' },
    { name: "ping", data: "" },
  ]
  for (let size = 1; size <= text.length; size += 1) {
    const reader = new EventReader()
    const found = []
    for (let at = 0; at < text.length; at += size) found.push(...reader.read(text.slice(at, at + size)))
    expect(found).toEqual(expected)
  }
})
