import { openDocument } from "@studyroom/client/documents"
import { Editor, Extension } from "@tiptap/core"
import { Collaboration } from "@tiptap/extension-collaboration"
import { StarterKit } from "@tiptap/starter-kit"
import { yCursorPlugin } from "@tiptap/y-tiptap"

const roomId = "550e8400-e29b-41d4-a716-446655440000"
const notes = openDocument({ url: "/ws", username: "Guest" }, roomId, "notes")
notes.awareness.setLocalStateField("user", { name: "Guest", color: "#2d6a4f" })

const editor = new Editor({
  element: document.body.appendChild(document.createElement("main")),
  editable: false,
  extensions: [
    // The document has its own undo, which takes back only the edits of this user.
    StarterKit.configure({ undoRedo: false, trailingNode: false }),
    Collaboration.configure({ document: notes.doc }),
    Extension.create({
      name: "carets",
      addProseMirrorPlugins: () => [yCursorPlugin(notes.awareness)],
    }),
  ],
})

const state = document.body.appendChild(document.createElement("output"))
const words: Record<string, string> = {
  synced: "Saved",
  deleted: "Deleted: reload the page for a new document",
}
notes.state.subscribe(() => {
  const { status } = notes.state.get()
  state.textContent = words[status] ?? "Not saved yet"
  if (status in words) editor.setEditable(notes.mayWrite.get() !== false)
})
