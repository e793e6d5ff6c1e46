import { readFileSync } from "node:fs"
import { expect, test } from "vitest"

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8")

test("the page of the README is the tested example, in at most 40 lines", () => {
  const page = read("examples/page.tsx")
  expect(read("README.md")).toContain(page)
  expect(page.trimEnd().split("\n").length).toBeLessThanOrEqual(40)
})
