import { expect, it } from "vitest"
import schema from "../../client/schema.json"
import { closeSentence, sentence } from "../src/codes"
import { codes as table } from "../src/texts/codes"

const codes: string[] = schema.$defs.ErrorCode.enum

const ofClient = ["expired", "closed", "left", "not_failed", "close_called", "no_answer", "no_token"]

it.each([...codes, ...ofClient])("has a sentence for %s", (code) => {
  expect(sentence(code)).not.toBe(table.general)
  expect(sentence(code)).toMatch(/^[A-Z].*\.$/)
})

it.each(["a_code_of_tomorrow", "toString", "__proto__"])("has a general sentence for %s", (code) => {
  expect(sentence(code)).toBe(table.general)
})

it("has sentences for closes that are for good, also for codes of tomorrow", () => {
  const closed = (code: number) => closeSentence({ code, cause: { code: "server_closed" } })
  for (const code of [1000, 1002, 1003, 1007, 1009, 4500, 4501, 4502])
    expect(closed(code)).not.toContain(String(code))
  expect(closed(4712)).toBe("The server has closed the connection (code 4712).")
})
