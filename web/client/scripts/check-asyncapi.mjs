// Fails if the named file is not a valid AsyncAPI document.
import { readFileSync } from "node:fs"
import { Parser } from "@asyncapi/parser"

const WARNING = 1

const [, , file] = process.argv
const { document, diagnostics } = await new Parser().parse(readFileSync(file, "utf8"))
const found = diagnostics.filter(({ severity }) => severity <= WARNING)
for (const { code, message, path } of found) console.error(`${file}: ${path.join(".")}: ${message} (${code})`)
if (document === undefined || found.length > 0) process.exitCode = 1
