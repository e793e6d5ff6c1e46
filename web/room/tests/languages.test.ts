import { expect, it } from "vitest"
import { codes } from "../src/texts/codes"
import { de } from "../src/texts/de"
import { en } from "../src/texts/en"
import { filled } from "../src/texts/index"

/** A text as it stands in the table: of functions, the one that they fill. */
const source = (text: unknown): unknown =>
  typeof text === "object" && text !== null && "input" in text ? (text as { input: unknown }).input : text
const forms = (text: unknown) =>
  typeof text === "string" ? [text] : Object.values(text as Record<string, string>)
const places = (text: string) => [...text.matchAll(/\{\w+\}/g)].map(([place]) => place).sort()

const tables = { page: [en, de.page], codes: [codes, de.codes] } as const
const names = Object.entries(tables).flatMap(([table, [english]]) =>
  Object.keys(english).map((name) => [table as keyof typeof tables, name] as const),
)

it.each(names)("has the same places in each language for %s %s", (table, name) => {
  const [english, german] = tables[table].map((texts) => forms(source(texts[name as keyof typeof texts])))
  expect(german?.length).toBe(english?.length)
  for (const [index, text] of (german ?? []).entries()) {
    expect(text).not.toBe("")
    expect(places(text)).toEqual(places(english?.[index] as string))
  }
})

it("fills places with anything that people write", () => {
  expect(filled("{name} and {name}: {other}", { name: "$& {other}" })).toBe(
    "$& {other} and $& {other}: {other}",
  )
})
