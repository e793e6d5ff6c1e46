/** The bytes that the client adds to a page. */

import { gzipSync } from "node:zlib"
import { build } from "esbuild"
import { expect, test } from "vitest"

const BUDGET_BYTES = 11_090
const ONE_FUNCTION_BYTES = 400

/** The size of a page's script, minified and compressed, that uses this much of the client. */
async function bytesOf(script: string): Promise<number> {
  const { outputFiles } = await build({
    stdin: { contents: script, resolveDir: new URL("../../src", import.meta.url).pathname, loader: "ts" },
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    write: false,
  })
  return gzipSync(outputFiles[0]?.contents ?? "", { level: 9 }).length
}

test("the client without React is within its budget", async () => {
  const bytes = await bytesOf('export * from "./index.js"')
  console.log(`@studyroom/client without React: ${bytes} bytes of ${BUDGET_BYTES}, minified and compressed`)
  expect(bytes).toBeLessThanOrEqual(BUDGET_BYTES)
})

test.each(["isBlank", "newId"])("a page that uses only %s gets nothing else", async (name) => {
  expect(await bytesOf(`import { ${name} } from "./index.js"; console.log(${name})`)).toBeLessThan(
    ONE_FUNCTION_BYTES,
  )
})
