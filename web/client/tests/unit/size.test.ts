/** The bytes that the client adds to a page. */

import { expect, test } from "vitest"
import { measure } from "../support/bundle.js"

const BUDGET_BYTES = 10_240
const LATER_BUDGET_BYTES = 2150
const ONE_FUNCTION_BYTES = 400

test("the client without React is within its budget, and so is what it loads when it is needed", async () => {
  const { atOnce, later, parts } = await measure('export * from "./index.js"')
  console.log(`@studyroom/client without React: ${atOnce} bytes of ${BUDGET_BYTES}, and ${later} later`)
  expect(atOnce).toBeLessThanOrEqual(BUDGET_BYTES)
  expect(later).toBeLessThanOrEqual(LATER_BUDGET_BYTES)
  expect(parts).toEqual(["archive", "chunk", "moves", "refusal"])
})

test.each(["isBlank", "newId"])("a page that uses only %s gets nothing else", async (name) => {
  const { atOnce } = await measure(`import { ${name} } from "./index.js"; console.log(${name})`)
  expect(atOnce).toBeLessThan(ONE_FUNCTION_BYTES)
})
