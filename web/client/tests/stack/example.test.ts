/** The page of the README, bundled unchanged, in two windows. */

import { build } from "esbuild"
import { JSDOM } from "jsdom"
import { expect, vi } from "vitest"
import { DEADLINE_MS, test } from "../support/fixture.js"

const EXAMPLE = new URL("../../examples/page.tsx", import.meta.url).pathname
const SOURCES = new URL("../../src", import.meta.url).pathname

const soon = <T>(check: () => T) => vi.waitFor(check, { timeout: DEADLINE_MS, interval: 10 })

async function bundle(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [EXAMPLE],
    bundle: true,
    write: false,
    jsx: "automatic",
    define: { "process.env.NODE_ENV": '"production"' },
    alias: { "@studyroom/client": SOURCES },
  })
  return outputFiles[0]?.text ?? ""
}

function open(url: string, script: string): JSDOM {
  const page = new JSDOM("<!doctype html><body></body>", {
    url,
    runScripts: "outside-only",
    pretendToBeVisual: true,
  })
  page.window.eval(script)
  return page
}

const text = (page: JSDOM) => page.window.document.body.textContent

test("two windows with the page of the README see each other, chat, type and move", async ({ balancer }) => {
  const script = await bundle()
  const url = balancer.url.replace("ws:", "http:")
  const [first, second] = [open(url, script), open(url, script)]
  const { document, Event, MouseEvent } = first.window
  for (const page of [first, second]) await soon(() => expect(text(page)).toContain("2 in the room"))

  const input = document.querySelector("input") ?? document.createElement("input")
  input.value = "Hello from the first"
  input.dispatchEvent(new Event("input", { bubbles: true }))
  await soon(() => expect(text(second)).toContain("Guest is typing…"))
  document.querySelector("form")?.requestSubmit()
  await soon(() => expect(text(second)).toContain("Guest: Hello from the first"))
  await soon(() => expect(text(second)).not.toContain("typing"))

  document
    .querySelector("main")
    ?.dispatchEvent(new MouseEvent("pointermove", { bubbles: true, clientX: 7, clientY: 8 }))
  await soon(() => expect(second.window.document.querySelector("b")?.style.left).toBe("7px"))
  for (const page of [first, second]) page.window.close()
})
