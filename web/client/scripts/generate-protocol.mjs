// Writes src/protocol.ts and schema.json from the contract, the JSON Schema on standard input:
//
//     studyroom schema | node scripts/generate-protocol.mjs
//
// With --check it writes nothing and fails when they differ.
import { readFileSync, writeFileSync } from "node:fs"
import { text } from "node:stream/consumers"
import { fileURLToPath } from "node:url"
import { compile } from "json-schema-to-typescript"

const BANNER = "// Made from the contract by `make schema`; not to be edited."

const at = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url))

/** What a reader needs to know of a property stands in its type; its title would only give the type another name. */
function withoutPropertyTitles(schema) {
  for (const definition of Object.values(schema.$defs)) {
    for (const [name, property] of Object.entries(definition.properties ?? {})) {
      delete property.title
      // A message without its type is none, although the reader in Python would fill it in.
      if (name === "type") definition.required = ["type", ...(definition.required ?? [])]
    }
  }
  return schema
}

const contract = JSON.parse(await text(process.stdin))
const schema = `${JSON.stringify(contract, null, 2)}\n`
const types = await compile(withoutPropertyTitles(contract), "Message", {
  bannerComment: BANNER,
  additionalProperties: false,
  style: { semi: false, printWidth: 110 },
  unreachableDefinitions: false,
})

const written = { "schema.json": schema, "src/protocol.ts": types }
for (const [path, content] of Object.entries(written)) {
  if (!process.argv.includes("--check")) {
    writeFileSync(at(path), content)
  } else if (readFileSync(at(path), "utf8") !== content) {
    console.error(`web/client/${path} is not what the contract says: run make schema`)
    process.exitCode = 1
  }
}
