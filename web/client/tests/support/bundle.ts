/** Scripts of pages as bundlers make them, in parts. */

import { basename } from "node:path"
import { gzipSync } from "node:zlib"
import { build, type Metafile } from "esbuild"

export interface Bundle {
  /** The bytes of the files that a page loads at once, minified and compressed. */
  atOnce: number
  /** The same of all files that it loads when it needs them. */
  later: number
  /** The names of those files, without what a bundler adds. */
  parts: string[]
}

/** Measures the bundle of a page's script. */
export async function measure(script: string): Promise<Bundle> {
  const { metafile, outputFiles } = await build({
    stdin: {
      contents: script,
      resolveDir: new URL("../../src", import.meta.url).pathname,
      loader: "ts",
    },
    bundle: true,
    splitting: true,
    minify: true,
    format: "esm",
    target: "es2022",
    chunkNames: "[name]-[hash]",
    outdir: "bundle",
    metafile: true,
    write: false,
  })
  const sizes = new Map(outputFiles.map(({ path, contents }) => [basename(path), compressed(contents)]))
  const first = loadedWith("stdin.js", metafile)
  const others = [...sizes.keys()].filter((name) => !first.has(name))
  const sum = (names: Iterable<string>) =>
    [...names].reduce((bytes, name) => bytes + (sizes.get(name) ?? 0), 0)
  return {
    atOnce: sum(first),
    later: sum(others),
    parts: others.map((name) => name.replace(/-.*/, "")).sort(),
  }
}

function compressed(contents: Uint8Array): number {
  return gzipSync(contents, { level: 9 }).length
}

/** A file, and all that it imports without a call of `import()`. */
function loadedWith(name: string, { outputs }: Metafile, found = new Set<string>()): Set<string> {
  found.add(name)
  const [, output] = Object.entries(outputs).find(([path]) => basename(path) === name) ?? []
  for (const { path, kind } of output?.imports ?? [])
    if (kind === "import-statement" && !found.has(basename(path)))
      loadedWith(basename(path), { outputs } as Metafile, found)
  return found
}
