/** The whole system, started once for all tests. `studyroom up` runs it as for a user. */

import { type ChildProcess, spawn } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import type { TestProject } from "vitest/node"

/** A time that tests can wait for. After three quarters of it the client sends no message again. */
export const CHAT_RETRY_SECONDS = 12
export const API_KEY = "studyroom_a-key-for-tests"
export const JWT_SECRET = "a secret for tests, of 32 bytes or more"

const PROJECT = resolve(import.meta.dirname, "../../../..")
const READY_MS = 60_000

declare module "vitest" {
  export interface ProvidedContext {
    /** The path of the table of processes. */
    stackTable: string
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const directory = mkdtempSync(join(tmpdir(), "studyroom-web-"))
  const python = process.env.STUDYROOM_PYTHON ?? join(PROJECT, ".venv/bin/python")
  const stack = spawn(
    python,
    [
      "-m",
      "studyroom",
      "up",
      "--gateways",
      "2",
      "--presence",
      "1",
      "--port",
      String(await freePorts()),
      "--data-dir",
      directory,
    ],
    {
      cwd: PROJECT,
      env: {
        ...withoutSettings(process.env),
        STUDYROOM_GATEWAY_JWT_SECRET: JWT_SECRET,
        STUDYROOM_GATEWAY_API_KEYS: `tests:${createHash("sha256").update(API_KEY).digest("hex")}`,
        STUDYROOM_GATEWAY_JWT_LEEWAY_SECONDS: "0",
        STUDYROOM_GATEWAY_FLOOD_SECONDS: "2",
        STUDYROOM_GATEWAY_MOVE_WITHIN_MS: "5000",
        STUDYROOM_GATEWAY_ROOM_HINTS: "true",
        STUDYROOM_STORAGE_CHAT_DUPLICATE_WINDOW_SECONDS: String(CHAT_RETRY_SECONDS),
      },
    },
  )
  await ready(stack)
  project.provide("stackTable", join(directory, "stack.json"))
  return async () => {
    const ended = new Promise((resolve) => stack.once("exit", resolve))
    if (stack.exitCode === null) {
      stack.kill("SIGTERM")
      await ended
    }
    rmSync(directory, { recursive: true, force: true })
  }
}

function ready(stack: ChildProcess): Promise<void> {
  let output = ""
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => failed("is not ready"), READY_MS)
    const failed = (what: string) => {
      clearTimeout(late)
      stack.kill("SIGTERM")
      reject(new Error(`studyroom up ${what}:\n${output}`))
    }
    const read = (data: Buffer) => {
      output += data
      if (!output.includes("Studyroom is ready")) return
      clearTimeout(late)
      resolve()
    }
    stack.stdout?.on("data", read)
    stack.stderr?.on("data", read)
    stack.once("error", (error) => failed(String(error)))
    stack.once("exit", (status) => failed(`ended with ${status}`))
  })
}

function withoutSettings(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !name.startsWith("STUDYROOM_")))
}

/** The first of two adjacent ports that are free. */
async function freePorts(): Promise<number> {
  for (;;) {
    const first = 20_000 + Math.floor(Math.random() * 12_000)
    if ((await isFree(first)) && (await isFree(first + 1))) return first
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once("error", () => resolve(false))
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)))
  })
}

export interface Gateway {
  name: string
  pid: number
  /** The address of its public port. */
  url: URL
  restarts: number
}

/** The gateways as they are now. One that has ended is started again with another pid. */
export function gatewaysIn(table: string): Gateway[] {
  return processesIn(table, "gateway").map((row) => ({ ...row, url: new URL(row.url) }))
}

/** The process id of NATS. */
export function natsIn(table: string): number {
  const [nats] = processesIn(table, "nats")
  if (nats === undefined) throw new Error("NATS does not run")
  return nats.pid
}

function processesIn(table: string, service: string): (Omit<Gateway, "url"> & { url: string })[] {
  if (!existsSync(table)) throw new Error("the stack does not run")
  const { processes } = JSON.parse(readFileSync(table, "utf8")) as {
    processes: (Omit<Gateway, "url"> & { service: string; url: string })[]
  }
  return processes.filter((row) => row.service === service)
}

/** Stop a process. Resolves when all its threads stand still. */
export async function freeze(pid: number): Promise<void> {
  process.kill(pid, "SIGSTOP")
  const tasks = `/proc/${pid}/task`
  const stands = (task: string) => /\) [TZ] /.test(readFileSync(`${tasks}/${task}/stat`, "utf8"))
  while (existsSync(tasks) && !readdirSync(tasks).every(stands))
    await new Promise((resolve) => setTimeout(resolve, 5))
}
