/** Code that people write together, in CodeMirror over the provider of y-websocket. The address has the room. */

import { basicSetup, EditorView } from "codemirror"
import { yCollab } from "y-codemirror.next"
import { WebsocketProvider } from "y-websocket"
import { Doc } from "yjs"

const address = new URL(location.href)
const [room = "", name = "Guest"] = address.hash.slice(1).split("/")
const doc = new Doc()
const provider = new WebsocketProvider(`ws://${address.host}/documents/${room}`, "code", doc)
provider.awareness.setLocalStateField("user", { name, color: "#2d6a4f", colorLight: "#2d6a4f33" })

new EditorView({
  parent: document.body,
  extensions: [basicSetup, yCollab(doc.getText("code"), provider.awareness)],
})
const state = document.body.appendChild(document.createElement("output"))
provider.on("sync", (isSynced) => {
  state.textContent = isSynced ? "synced" : "offline"
})
