/** The cursors and selections of others, with their names and colours. */

import { Extension } from "@tiptap/core"
import { yCursorPlugin } from "@tiptap/y-tiptap"
import type { Awareness } from "y-protocols/awareness"
import { shown } from "./colour"

export const carets = (awareness: Awareness) =>
  Extension.create({
    name: "carets",
    addProseMirrorPlugins: () => [
      yCursorPlugin(awareness, {
        cursorBuilder: caret,
        selectionBuilder: (user, clientId) => ({
          class: "selected-by",
          style: `--hue: ${shown(user, clientId).hue}`,
        }),
      }),
    ],
  })

// Styles are set from the script, because the content security policy allows none in attributes.
function caret(user: unknown, clientId: number): HTMLElement {
  const { name, hue } = shown(user, clientId)
  const line = document.createElement("span")
  const label = document.createElement("span")
  line.className = "caret"
  line.style.setProperty("--hue", String(hue))
  label.className = "caret-name"
  label.dir = "auto"
  label.textContent = name
  // The word joiners keep a line from being broken at the cursor.
  line.append("\u2060", label, "\u2060")
  return line
}
