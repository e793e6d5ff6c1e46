import { renderToStaticMarkup } from "react-dom/server"
import { expect, it } from "vitest"
import { Names } from "../src/Names"

it.each([
  [[], ""],
  [["Ada"], "Ada"],
  [["Ada", "Grace"], "Ada and Grace"],
  [["Ada", "Grace", "Edsger"], "Ada, Grace and Edsger"],
  [["Ada", "Ada", "Edsger", "Barbara", "Alan"], "Ada, Ada and 3 others"],
])("lists %j as %j", (names, words) => {
  const markup = renderToStaticMarkup(<Names names={names} />)
  expect(markup.replace(/<[^>]*>/g, "")).toBe(words)
})

it("isolates each name, so that its direction changes nothing around it", () => {
  expect(renderToStaticMarkup(<Names names={["דוד", "Ada"]} />)).toBe("<bdi>דוד</bdi> and <bdi>Ada</bdi>")
})
