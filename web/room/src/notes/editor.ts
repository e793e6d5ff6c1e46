/** The editor of the notes: TipTap on a document of Yjs. */

import type { SharedDocument } from "@studyroom/client/documents"
import { Editor, Extension } from "@tiptap/core"
import { Collaboration } from "@tiptap/extension-collaboration"
import type { Slice } from "@tiptap/pm/model"
import { StarterKit } from "@tiptap/starter-kit"
import { carets } from "./carets"
import { Maths } from "./maths"

/** The name that TipTap gives to its part of a document by default. */
const FIELD = "default"
/** Larger pastes are refused at once. Together with their marks, they are near the limit of the server. */
const PASTE_MAX = 250_000

export const ADDRESS = /^(https?:\/\/|mailto:)\S+$/i

export interface EditorHandlers {
  /** The user has pasted a text that is too large. */
  onPasteTooLarge: () => void
  /** The document has content that this editor does not know. The editor keeps it, and takes no more edits. */
  onUnknownContent: () => void
  /** The user leaves the editor by key. */
  onEscape: () => void
}

export function notesEditor(
  element: HTMLElement,
  { doc, awareness }: SharedDocument,
  { onPasteTooLarge, onUnknownContent, onEscape }: EditorHandlers,
): Editor {
  const tooLarge = (slice: Slice) => {
    if (slice.content.size <= PASTE_MAX) return false
    onPasteTooLarge()
    return true
  }
  return new Editor({
    element,
    injectCSS: false, // the content security policy allows no styles in the page
    // What is shown until the document is here. A text would be parsed, which the policy refuses too.
    content: { type: "doc", content: [{ type: "paragraph" }] },
    editable: false,
    enableContentCheck: true,
    onContentError: onUnknownContent,
    extensions: [
      StarterKit.configure({
        undoRedo: false, // the document has its own, which takes back only the user's edits
        trailingNode: false, // it would write into the document of a user who only reads
        heading: { levels: [1, 2, 3] },
        link: {
          openOnClick: false,
          defaultProtocol: "https",
          HTMLAttributes: { target: "_blank", rel: "noopener noreferrer" },
          isAllowedUri: (address) => ADDRESS.test(address),
        },
      }),
      Collaboration.configure({ document: doc, field: FIELD }),
      carets(awareness),
      Maths,
      leaving(onEscape),
    ],
    editorProps: {
      handlePaste: (_view, _event, slice) => tooLarge(slice),
      handleDrop: (_view, _event, slice, moved) => !moved && tooLarge(slice),
    },
  })
}

/** Describes the editor for screen readers. Call it after a change of the language. */
export function label(editor: Editor, name: string, descriptionId: string): void {
  const attributes = () => ({
    role: "textbox",
    "aria-multiline": "true",
    "aria-readonly": String(!editor.isEditable),
    "aria-label": name,
    "aria-describedby": descriptionId,
    class: "text-of-notes",
    dir: "auto",
    tabindex: "0",
  })
  editor.setOptions({ editorProps: { ...editor.options.editorProps, attributes } })
}

function leaving(onEscape: () => void) {
  const leave = () => {
    onEscape()
    return true
  }
  return Extension.create({ name: "leaving", addKeyboardShortcuts: () => ({ Escape: leave }) })
}
