import { renderToStaticMarkup } from "react-dom/server"
import { expect, it } from "vitest"
import { withLinks } from "../src/chat/links"

const html = (text: string) => renderToStaticMarkup(withLinks(text))

it("makes links of web addresses, without what ends the sentence", () => {
  expect(html("see (https://a.example/b?c=d#e), please.")).toBe(
    'see (<a href="https://a.example/b?c=d#e" target="_blank" rel="noopener noreferrer">https://a.example/b?c=d#e</a>), please.',
  )
})

it.each(["javascript:alert(1)", "data:text/html,x", "ftp://a.example/", "a.example", "xhttp:/x"])(
  "leaves %s alone",
  (text) => {
    expect(html(text)).toBe(text)
  },
)

it("leaves markup as text, also around an address", () => {
  expect(html('<a href="https://a.example/">x</a>')).not.toContain('<a href="https://a.example/">x</a>')
  expect(html("<img src=x onerror=alert(1)>")).toBe("&lt;img src=x onerror=alert(1)&gt;")
})
