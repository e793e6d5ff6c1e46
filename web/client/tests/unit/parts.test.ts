/** Parts of the client that are loaded when they are needed, and cannot be. */

import { execFileSync } from "node:child_process"
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { build } from "esbuild"
import { afterAll, beforeAll, expect, test } from "vitest"

const ROOM = "8f14e45f-ceea-467f-a8d1-2f5b3c9e7d10"
const PARTS = /^(archive|moves|refusal)-/

let page = ""

beforeAll(async () => {
  page = mkdtempSync(join(tmpdir(), "studyroom-page-"))
  writeFileSync(join(page, "package.json"), '{"type":"module"}')
  const src = new URL("../../src/", import.meta.url).pathname
  const contents = 'export * from "./index.js"; export * from "./preload.js"'
  await build({
    stdin: { contents, resolveDir: src, sourcefile: "stdin", loader: "ts" },
    bundle: true,
    splitting: true,
    format: "esm",
    outdir: page,
  })
})

afterAll(() => rmSync(page, { recursive: true, force: true }))

/** Runs a script of the page in a process of its own, which ends with an error at an unhandled rejection. */
function run(script: string): string {
  writeFileSync(join(page, "run.js"), `import * as studyroom from "./stdin.js"\n${script}`)
  return execFileSync("node", [join(page, "run.js")], { encoding: "utf8", cwd: page }).trim()
}

/** Takes the parts away, as a bad network or a newer version of the page does. */
function withoutParts(work: () => void): void {
  const names = readdirSync(page).filter((name) => PARTS.test(name))
  expect(names.length).toBe(3)
  mkdirSync(join(page, "away"))
  for (const name of names) renameSync(join(page, name), join(page, "away", name))
  try {
    work()
  } finally {
    for (const name of readdirSync(join(page, "away"))) renameSync(join(page, "away", name), join(page, name))
    rmSync(join(page, "away"), { recursive: true })
  }
}

const CLIENT = `
  class Refused {
    readyState = 0
    constructor() { setTimeout(() => this.onclose({ code: 1006, reason: "" })) }
    send() {}
    close() {}
  }
  const client = new studyroom.StudyroomClient({ url: "ws://127.0.0.1:9/ws", WebSocket: Refused, reconnect: { baseMs: 1 } })
`

test("a request that needs a missing part fails with a reason, and the next one tries again", () => {
  withoutParts(() => {
    const printed = run(`${CLIENT}
      const code = () => client.getRoster("${ROOM}").catch((error) => error.code)
      console.log(await code())
      import("node:fs").then(({ readdirSync, renameSync }) => {
        for (const name of readdirSync("away")) renameSync("away/" + name, name)
        return code()
      }).then(console.log)
    `)
    expect(printed.split("\n")).toEqual(["not_loaded", "connection_lost"])
  })
})

test("where the part that explains refusals is missing, the client goes on to connect", () => {
  withoutParts(() => {
    const printed = run(`${CLIENT}
      let attempts = 0
      client.connection.subscribe(() => {
        const { status, cause } = client.connection.get()
        if (status !== "waiting" || ++attempts < 3) return
        console.log(cause.code)
        client.close()
      })
      client.connect()
    `)
    expect(printed).toBe("connection_lost")
  })
})

test("a page can load all parts before it needs them", () => {
  const printed = run(`${CLIENT}
    await studyroom.preload()
    const { readdirSync, rmSync } = await import("node:fs")
    for (const name of readdirSync(".")) if (/${PARTS.source}/.test(name)) rmSync(name)
    console.log(await client.getRoster("${ROOM}").catch((error) => error.code))
  `)
  expect(printed).toBe("connection_lost")
})
