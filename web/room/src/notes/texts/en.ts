/** The texts of the notes in English. They are loaded with the notes. */

export const en = {
  notesOfRoom: "Notes of this room",
  hint: "Everyone in the room can write here. Maths goes between dollar signs, such as $x^2$.",
  escape: "Escape takes you to the tools.",
  tools: "Tools",
  heading1: "Heading 1",
  heading2: "Heading 2",
  heading3: "Heading 3",
  bold: "Bold",
  italic: "Italic",
  code: "Code",
  link: "Link",
  bullets: "List",
  numbers: "Numbered list",
  codeBlock: "Block of code",
  maths: "Maths",
  undo: "Undo",
  redo: "Redo",

  // the state, in one or two words
  connecting: "Connecting…",
  offline: "Offline",
  saving: "Saving…",
  saved: "Saved",
  readOnly: "Read-only",
  notSaved: "Not saved",
  refused: "Closed to you",
  deleted: "Deleted",

  // the same in sentences
  offlineExplained: "You are offline. Go on writing: your notes are kept here, and saved when you are back.",
  readOnlyExplained: "You may read these notes, but not change them.",
  tooLarge:
    "Your last change is too large to be saved. Take it back, or copy your text and go on from the saved notes.",
  full: "These notes are full, so your changes are not saved. Copy your text and go on from the saved notes.",
  malformed: "Your last change cannot be saved. Copy your text and go on from the saved notes.",
  tooMany: "This room has too many documents, so these notes cannot be saved. Copy your text.",
  deletedExplained: "These notes were deleted. You can start new ones.",
  deletedUnsaved:
    "These notes were deleted before your last changes were saved. Copy your text and start new notes.",
  refusedExplained: "Your access does not include the notes of this room.",
  unknownContent:
    "These notes contain something that this page cannot show. Reload it to get its newest version.",
  pasteTooLarge: "That text is too large for the notes, so it was not inserted.",
  copyText: "Copy my text",
  textCopied: "Copied",
  goOn: "Go on from the saved notes",
  startNew: "Start new notes",

  // versions
  versions: "Versions",
  versionName: "Keep the notes as they are now, under a name",
  versionHint: "Before the exam …",
  keepVersion: "Keep",
  noVersions: "There are no versions yet.",
  restore: "Restore",
  restoreVersion: "Restore {name}",
  restoreExplained:
    "Everyone in the room gets the notes as they were in “{name}”. The notes as they are now become a version first.",
  beforeRestoring: "Before {name} was restored",
  back: "Back",

  // links
  address: "Address",
  addressHint: "https://…",
  addressWrong: "Enter an address that begins with https://, http:// or mailto:.",
  setLink: "Set the link",
  removeLink: "Remove the link",
  openLink: "Open it in a new tab",
}
