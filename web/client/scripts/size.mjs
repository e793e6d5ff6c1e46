// Prints the size of the client without React, minified and compressed, and fails when it is over the budget.

import { fileURLToPath } from "node:url"
import { gzipSync } from "node:zlib"
import { build } from "esbuild"

// The room in the address, and the move to the gateway of another room, took 0.25 of them.
const BUDGET_BYTES = 6.5 * 1024

const entry = fileURLToPath(new URL("../src/index.ts", import.meta.url))
const { outputFiles } = await build({
  entryPoints: [entry],
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  write: false,
})
const size = gzipSync(outputFiles[0].contents, { level: 9 }).length
console.log(
  `@studyroom/client: ${outputFiles[0].contents.length} bytes minified, ${size} gzipped, budget ${BUDGET_BYTES}`,
)
if (size > BUDGET_BYTES) process.exitCode = 1
