import fc from "fast-check"
import { expect, it } from "vitest"
import { withLinks } from "../src/chat/links"

const found = (text: string) => withLinks(text).flatMap(({ href }) => href ?? [])

it.each([
  ["see https://a.example/b?c=d#e, please.", "https://a.example/b?c=d#e"],
  ["(https://a.example/b)", "https://a.example/b"],
  ["https://en.example/wiki/Set_(mathematics)", "https://en.example/wiki/Set_(mathematics)"],
  ["(see https://en.example/wiki/Set_(mathematics)).", "https://en.example/wiki/Set_(mathematics)"],
  ["https://a.example/f(g(x))[1]", "https://a.example/f(g(x))[1]"],
  ["[notes](https://a.example/n_(1))", "https://a.example/n_(1)"],
  ["参见https://a.example/b。谢谢", "https://a.example/b"],
  ["「https://a.example/b」を見て", "https://a.example/b"],
  ["（https://a.example/b）", "https://a.example/b"],
  ["https://zh.example/wiki/甲（乙）", "https://zh.example/wiki/甲（乙）"],
  ["**https://a.example/b**", "https://a.example/b"],
  ["**https://a.example/b** and more", "https://a.example/b"],
  ["**https://a.example/b**, and more", "https://a.example/b"],
  ["_https://a.example/b_", "https://a.example/b"],
  ['"https://a.example/b"', "https://a.example/b"],
  ["Is it https://a.example/b?", "https://a.example/b"],
  ["https://a.example/it's", "https://a.example/it's"],
  ["https://a.example/b\u202etxt", "https://a.example/b"],
])("finds in %j the address %j", (text, address) => {
  expect(found(text)).toEqual([address])
})

it.each([
  "javascript:alert(1)",
  "data:text/html,x",
  "ftp://a.example/",
  "a.example",
  "xhttp://a.example/",
  "https://",
  "https://)",
  "http://。",
])("finds no address in %j", (text) => {
  expect(withLinks(text)).toEqual([{ text }])
})

it("finds two addresses in one text", () => {
  expect(found("https://a.example/1, https://a.example/2")).toEqual([
    "https://a.example/1",
    "https://a.example/2",
  ])
})

// --- properties ---------------------------------------------------------------------------------------------

const pieces = [
  "https://",
  "HTTP://",
  "a.example",
  "/b",
  "(",
  ")",
  "（",
  "）",
  "[",
  "]",
  "**",
  "。",
  ".",
  ",",
  " ",
]
const anyText = fc.oneof(
  fc.string({ unit: "grapheme" }),
  fc.array(fc.oneof(fc.constantFrom(...pieces), fc.string({ maxLength: 3 }))).map((parts) => parts.join("")),
)

it("keeps every character of any text, and makes links only of web addresses", () => {
  fc.assert(
    fc.property(anyText, (text) => {
      const parts = withLinks(text)
      expect(parts.map((part) => part.text).join("")).toBe(text)
      for (const { text: shown, href } of parts) {
        if (href === undefined) continue
        expect(href).toBe(shown)
        expect(new URL(href).protocol).toMatch(/^https?:$/)
        expect(href).not.toMatch(/[\s。，「」]|\*\*|[.,;:!?]$/)
      }
    }),
    { numRuns: 1000 },
  )
})

const word = fc.stringMatching(/^[a-zA-Z0-9-]{1,8}$/)
const balanced = fc.letrec<{ path: string }>((tie) => ({
  path: fc.oneof(
    { maxDepth: 4 },
    word,
    fc.tuple(tie("path"), tie("path")).map(([one, other]) => `${one}/${other}`),
    fc
      .tuple(fc.constantFrom("()", "[]", "（）"), tie("path"))
      .map(([pair, inside]) => `${pair[0]}${inside}${pair[1]}`),
  ),
})).path
const addresses = fc
  .tuple(fc.constantFrom("http", "https"), balanced)
  .map(([scheme, path]) => `${scheme}://a.example/${path}`)
const before = fc.constantFrom("", "see ", "(", "（", "「", "参见", "**", "_", '"', "[x](", "… ")
const after = fc.constantFrom(
  "",
  ".",
  ", and",
  ")",
  ").",
  "）",
  "」",
  "。谢谢",
  "**",
  "**.",
  "_",
  '"',
  "?",
  "! ",
  "\n",
)

it("finds an address with balanced brackets whole, whatever is around it", () => {
  fc.assert(
    fc.property(before, addresses, after, (start, address, end) => {
      expect(found(start + address + end)).toEqual([address])
    }),
    { numRuns: 1000 },
  )
})

it("leaves an address that is longer than any real one as text", () => {
  const text = `https://a.example/${"a".repeat(5000)}`
  expect(withLinks(text)).toEqual([{ text }])
})
