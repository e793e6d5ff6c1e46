import { describe, expect, it } from "vitest"
import { type Known, notesStatus } from "../src/notes/status"
import { de } from "../src/notes/texts/de"
import { en } from "../src/notes/texts/en"

const saved: Known = {
  state: { status: "synced" },
  mayWrite: true,
  refusal: null,
  before: true,
  unknown: false,
}
const of = (changes: Partial<Known>) => notesStatus({ ...saved, ...changes }, en)

describe("the notes say", () => {
  it.each<[string, Partial<Known>]>([
    ["Saved", {}],
    ["Saving…", { state: { status: "saving" } }],
    ["Connecting…", { state: { status: "saving" }, before: false }],
    ["Connecting…", { state: { status: "connecting" }, before: false }],
    ["Offline", { state: { status: "connecting" } }],
    ["Read-only", { mayWrite: false }],
    ["Read-only", { mayWrite: false, refusal: { code: "read_only", message: "" } }],
    ["Read-only", { unknown: true }],
    ["Offline", { mayWrite: false, state: { status: "connecting" } }],
    ["Not saved", { refusal: { code: "too_large", message: "" } }],
    ["Not saved", { refusal: { code: "full", message: "" }, state: { status: "saving" } }],
    ["Not saved", { refusal: { code: "a_code_of_tomorrow", message: "" }, state: { status: "connecting" } }],
    ["Closed to you", { state: { status: "refused", reason: "banned" } }],
  ])("%s for %j", (word, changes) => {
    expect(of(changes).word).toBe(word)
  })

  it("saved only when the server has stored everything", () => {
    for (const status of ["connecting", "saving"] as const)
      for (const before of [true, false]) expect(of({ state: { status }, before }).word).not.toBe(en.saved)
  })

  it("why edits are refused, and offer a way out", () => {
    expect(of({ refusal: { code: "full", message: "" } })).toMatchObject({ sentence: en.full, stuck: true })
    expect(of({ refusal: { code: "too_large", message: "" } })).toMatchObject({
      sentence: en.tooLarge,
      stuck: true,
    })
    expect(of({ mayWrite: false })).toMatchObject({ sentence: en.readOnlyExplained, stuck: false })
  })
})

it("has every text in German", () => {
  for (const [name, text] of Object.entries(en)) {
    expect(de[name as keyof typeof en], name).toMatch(/\S/)
    expect(text).toMatch(/\S/)
  }
})
