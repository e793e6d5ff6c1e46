import { Schema } from "@tiptap/pm/model"
import { expect, it } from "vitest"
import { formulasOf } from "../src/notes/maths"

const schema = new Schema({
  nodes: {
    doc: { content: "paragraph+" },
    paragraph: { content: "(text | hardBreak)*" },
    hardBreak: { inline: true },
    text: {},
  },
  marks: { code: {}, bold: {} },
})
const paragraph = (...parts: (string | [string, string])[]) =>
  schema.node(
    "paragraph",
    null,
    parts.map((part) => {
      if (part === "\n") return schema.node("hardBreak")
      return typeof part === "string" ? schema.text(part) : schema.text(part[0], [schema.mark(part[1])])
    }),
  )
const sources = (...parts: Parameters<typeof paragraph>) => {
  const block = paragraph(...parts)
  return formulasOf(block).map(({ from, to }) => block.textBetween(from, to, "", "|"))
}

it("finds maths by its position, also after line breaks and between marks", () => {
  expect(sources("a $x^2$ b")).toEqual(["$x^2$"])
  expect(sources("a", "\n", "$x$", ["$y$", "bold"])).toEqual(["$x$", "$y$"])
  expect(sources("a $x", ["^2", "bold"], "$")).toEqual(["$x^2$"])
  expect(sources("$$\\sum", "\n", "i$$")).toEqual(["$$\\sum|i$$"])
})

it("finds none in code and in prices", () => {
  expect(sources(["$x$", "code"])).toEqual([])
  expect(sources("$x", ["y", "code"], "z")).toEqual([])
  expect(sources("from $5 to $6")).toEqual([])
})
