/** The package as others install it. */

import { execFile, execFileSync } from "node:child_process"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { promisify } from "node:util"
import { afterAll, beforeAll, expect, test } from "vitest"

const PACKAGE = resolve(import.meta.dirname, "../..")
const ENTRIES = [
  "@studyroom/client",
  "@studyroom/client/react",
  "@studyroom/client/living-chat",
  "@studyroom/client/fallback",
  "@studyroom/client/rooms",
  "@studyroom/client/auth",
  "@studyroom/client/preload",
  "@studyroom/client/store",
  "@studyroom/client/documents",
]
const SLOW_MS = 180_000

let consumer = ""

beforeAll(async () => {
  await promisify(execFile)("npm", ["run", "build", "--silent"], { cwd: PACKAGE })
  consumer = mkdtempSync(join(tmpdir(), "studyroom-consumer-"))
  mkdirSync(join(consumer, "node_modules/@studyroom"), { recursive: true })
  symlinkSync(PACKAGE, join(consumer, "node_modules/@studyroom/client"))
}, SLOW_MS)

afterAll(() => rmSync(consumer, { recursive: true, force: true }))

/** Runs a file of the consumer, and returns what it prints. */
function run(name: string, text: string): string {
  writeFileSync(join(consumer, name), text)
  return execFileSync("node", [join(consumer, name)], { encoding: "utf8" }).trim()
}

test.each(ENTRIES)("%s has the same exports for import and require", (entry) => {
  const imported = run(
    "imports.mjs",
    `import * as all from "${entry}"; console.log(Object.keys(all).sort().join())`,
  )
  const required = run("requires.cjs", `console.log(Object.keys(require("${entry}")).sort().join())`)
  expect(required).toBe(imported)
  expect(imported).not.toBe("")
})

test(
  "its types work in modules of both kinds, with names that hide nothing",
  () => {
    const text = `
      import { type ChatMessage, StudyroomClient, StudyroomError } from "@studyroom/client"
      import { type Chat, useChat } from "@studyroom/client/react"
      const client = new StudyroomClient({ url: "wss://study.example/ws" })
      export const sent: Promise<ChatMessage> = client.sendChat("Hello")
      export const isOurs = (error: Error) => error instanceof StudyroomError
      export const hook: () => Chat = useChat
    `
    for (const name of ["consumer.cts", "consumer.mts"]) writeFileSync(join(consumer, name), text)
    const tsc = resolve(PACKAGE, "../node_modules/typescript/bin/tsc")
    const options = ["--noEmit", "--strict", "--module", "node16", "--target", "es2022"]
    execFileSync("node", [tsc, ...options, join(consumer, "consumer.cts"), join(consumer, "consumer.mts")], {
      cwd: consumer,
      stdio: "inherit",
    })
  },
  SLOW_MS,
)

test("no type of the protocol has the name of a global or of another type here", () => {
  const protocol = readFileSync(join(PACKAGE, "src/protocol.ts"), "utf8")
  const names = [...protocol.matchAll(/export (?:interface|type) (\w+)/g)].map(([, name]) => name)
  expect(names).toContain("ErrorMessage")
  expect(names).not.toContain("Error")
  expect(names).not.toContain("Chat")
})

test("the hooks are marked for clients, as frameworks with server components need it", () => {
  for (const path of ["dist/react/index.js", "dist/react/hooks.js", "dist/cjs/react/hooks.js"])
    expect(readFileSync(join(PACKAGE, path), "utf8")).toMatch(/^("use strict";\s*)?"use client";/)
})

test("the licence of the package is that of the project", () => {
  expect(readFileSync(join(PACKAGE, "LICENSE"), "utf8")).toBe(
    readFileSync(resolve(PACKAGE, "../../LICENSE"), "utf8"),
  )
})
