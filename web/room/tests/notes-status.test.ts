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
  hidden: false,
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
    ["Deleted", { state: { status: "deleted", unsaved: false } }],
    ["Deleted", { state: { status: "deleted", unsaved: true }, mayWrite: false, refusal: null }],
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
    expect(of({ refusal: { code: "too_many_documents", message: "" } })).toMatchObject({
      sentence: en.tooMany,
      stuck: true,
    })
    expect(of({ mayWrite: false })).toMatchObject({ sentence: en.readOnlyExplained, stuck: false })
  })

  it("whether notes that were deleted have text that was not saved, here or of an earlier tab", () => {
    const sentence = (unsaved: boolean, hidden: boolean) =>
      of({ state: { status: "deleted", unsaved }, hidden }).sentence
    expect(sentence(false, false)).toBe(en.deletedExplained)
    expect(sentence(true, false)).toBe(en.deletedUnsaved)
    expect(sentence(false, true)).toBe(en.deletedUnsaved)
    expect(of({ hidden: true })).toMatchObject({
      word: "Not saved",
      sentence: en.deletedUnsaved,
      stuck: true,
    })
  })
})

it("has every text in German", () => {
  for (const [name, text] of Object.entries(en)) {
    expect(de[name as keyof typeof en], name).toMatch(/\S/)
    expect(text).toMatch(/\S/)
  }
})
