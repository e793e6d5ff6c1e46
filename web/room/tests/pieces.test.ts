import fc from "fast-check"
import { expect, it } from "vitest"
import { type Piece, pieces } from "../src/chat/pieces"

const short = (piece: Piece) => {
  switch (piece.type) {
    case "text":
      return piece.text
    case "code":
      return `<code ${piece.text}>`
    case "block":
      return `<block ${piece.text}>`
    case "maths":
      return `<${piece.display ? "display" : "maths"} ${piece.tex}>`
  }
}

it.each([
  ["plain", ["plain"]],
  ["use `a < b` here", ["use ", "<code a < b>", " here"]],
  ["```\nx = 1\n\ny = 2\n```", ["<block x = 1\n\ny = 2>"]],
  ["look:\n```python\nif a:\n    b()\n```\nand?", ["look:", "<block if a:\n    b()>", "and?"]],
  ["```one line```", ["<block one line>"]],
  ["```\nnever closed", ["```\nnever closed"]],
  ["a ` b", ["a ` b"]],
  ["a `\n` b", ["a `\n` b"]],
  ["``````", ["``````"]],
  ["so $x^2$ is", ["so ", "<maths x^2>", " is"]],
  ["$$\n\\int f\n$$", ["<display \\int f>"]],
  ["\\(a\\) and \\[b\\]", ["<maths a>", " and ", "<display b>"]],
  ["costs $5 and $10", ["costs $5 and $10"]],
  ["$5,$10", ["$5,$10"]],
  ["US$ 5$", ["US$ 5$"]],
  ["\\$x$", ["\\$x$"]],
  ["$a\nb$", ["$a\nb$"]],
  ["`$x$` and $`x`$", ["<code $x$>", " and ", "<maths `x`>"]],
])("divides %j", (content, expected) => {
  expect(pieces(content).map(short)).toEqual(expected)
})

it("keeps every letter of any text in its place", () => {
  const part = fc.constantFrom("`", "```", "$", "$$", "\\(", "\\)", "\\[", "\\]", "\n", "a", "5", " ")
  fc.assert(
    fc.property(fc.array(part, { maxLength: 40 }), (parts) => {
      const content = parts.join("")
      let from = 0
      for (const piece of pieces(content)) {
        const text = piece.type === "maths" ? piece.tex : piece.text
        from = content.indexOf(text, from)
        expect(from).toBeGreaterThanOrEqual(0)
        from += text.length
      }
    }),
  )
})
