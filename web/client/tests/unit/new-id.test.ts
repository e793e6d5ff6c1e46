import { expect, test, vi } from "vitest"
import { newId } from "../../src/new-id.js"

test("ids are UUIDs of version 4, also where the browser has no random UUID", () => {
  vi.stubGlobal("crypto", { getRandomValues: (bytes: Uint8Array) => bytes.fill(255) })
  expect(newId()).toBe("ffffffff-ffff-4fff-8fff-ffffffffffff")
  vi.unstubAllGlobals()
})
