// Builds `dist`, also where nothing is installed yet. `npm install ./web/client` in a clean clone runs only this.
import { execFileSync } from "node:child_process"
import { existsSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

const client = dirname(dirname(fileURLToPath(import.meta.url)))
const workspace = dirname(client)
const run = (...arguments_) =>
  execFileSync("npm", arguments_, { cwd: workspace, stdio: "inherit", shell: process.platform === "win32" })

if (!existsSync(join(workspace, "node_modules", "typescript"))) run("ci", "--ignore-scripts", "--silent")
run("run", "build", "--silent", "--workspace", "client")
