/** The state of the notes in words. Pure. */

import type { DocumentState, EditRefusal } from "@studyroom/client/documents"
import type { en } from "./texts/en"

type Texts = Readonly<Record<keyof typeof en, string>>

export interface Known {
  state: DocumentState
  mayWrite: boolean | null
  refusal: EditRefusal | null
  /** Whether the notes have been here since the panel was opened. */
  before: boolean
  /** Whether the notes have content that this page does not know. */
  unknown: boolean
  /** Whether earlier tabs of the user have left text here that was not saved, and that the notes cannot show. */
  hidden: boolean
}

export interface NotesStatus {
  light: "good" | "wait" | "bad"
  /** One or two words. "Saved" means that the server has stored everything. */
  word: string
  /** A sentence, if the user should know or do something. */
  sentence: string | null
  /** Whether changes are refused that the user must bring to safety. */
  stuck: boolean
}

export function notesStatus(known: Known, t: Texts): NotesStatus {
  const { state, mayWrite, refusal, before, unknown, hidden } = known
  const bad = (word: string, sentence: string, stuck = false): NotesStatus => ({
    light: "bad",
    word,
    sentence,
    stuck,
  })
  if (state.status === "refused") return bad(t.refused, t.refusedExplained)
  if (state.status === "deleted")
    return bad(t.deleted, state.unsaved || hidden ? t.deletedUnsaved : t.deletedExplained)
  if (state.status === "synced" && hidden) return bad(t.notSaved, t.deletedUnsaved, true)
  if (unknown) return bad(t.readOnly, t.unknownContent)
  if (refusal && refusal.code !== "read_only") return bad(t.notSaved, reasonOf(refusal.code, t), true)
  const sentence = mayWrite === false ? t.readOnlyExplained : null
  const as = (light: NotesStatus["light"], word: string, sentence: string | null): NotesStatus => ({
    light,
    word,
    sentence,
    stuck: false,
  })
  if (state.status === "connecting")
    return before ? as("wait", t.offline, sentence ?? t.offlineExplained) : as("wait", t.connecting, null)
  if (mayWrite === false) return as("good", t.readOnly, sentence)
  return state.status === "synced"
    ? as("good", t.saved, null)
    : as("wait", before ? t.saving : t.connecting, null)
}

function reasonOf(code: string, t: Texts): string {
  const known: Readonly<Record<string, string>> = {
    too_large: t.tooLarge,
    full: t.full,
    too_many_documents: t.tooMany,
  }
  return known[code] ?? t.malformed
}
