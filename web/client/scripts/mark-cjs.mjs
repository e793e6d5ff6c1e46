// Marks the files in dist/cjs as CommonJS, for Node and TypeScript. Those beside it are ES modules.
import { writeFileSync } from "node:fs"

const mark = { type: "commonjs", sideEffects: false }
writeFileSync(new URL("../dist/cjs/package.json", import.meta.url), `${JSON.stringify(mark)}\n`)
