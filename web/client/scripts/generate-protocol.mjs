// Writes src/protocol.ts and schema.json. It reads the contract, a JSON Schema, from standard input:
//
//     studyroom schema | node scripts/generate-protocol.mjs
//
// With --check it writes nothing, and fails if the files differ from the contract.
import { readFileSync, writeFileSync } from "node:fs"
import { text } from "node:stream/consumers"
import { fileURLToPath } from "node:url"
import { compile } from "json-schema-to-typescript"

const BANNER = "// Generated from the contract by `make schema`. Do not edit it."

// In TypeScript, these names would hide a global, or be those of other types of this package.
const RENAMED = { Error: "ErrorMessage", Chat: "StoredChat" }

const at = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url))

/** Removes the titles of properties, each of which would only give the property's type a second name. */
function withoutPropertyTitles(schema) {
  for (const definition of Object.values(schema.$defs)) {
    for (const [name, property] of Object.entries(definition.properties ?? {})) {
      delete property.title
      // The reader in Python fills in a missing type, but clients must send it.
      if (name === "type") definition.required = ["type", ...(definition.required ?? [])]
    }
  }
  return schema
}

/** Gives the definitions in `RENAMED` their other names. */
function renamed(schema) {
  const text = JSON.stringify(schema).replace(
    /"#\/\$defs\/(\w+)"/g,
    (_, name) => `"#/$defs/${RENAMED[name] ?? name}"`,
  )
  const result = JSON.parse(text)
  const definitions = Object.entries(result.$defs).map(([name, definition]) =>
    name in RENAMED ? [RENAMED[name], { ...definition, title: RENAMED[name] }] : [name, definition],
  )
  return { ...result, $defs: Object.fromEntries(definitions) }
}

const contract = JSON.parse(await text(process.stdin))
const schema = `${JSON.stringify(contract, null, 2)}\n`
const types = await compile(withoutPropertyTitles(renamed(contract)), "Message", {
  bannerComment: BANNER,
  additionalProperties: false,
  style: { semi: false, printWidth: 110 },
  unreachableDefinitions: false,
  // Otherwise an array with a maximum becomes a union of tuples.
  ignoreMinAndMaxItems: true,
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
