/** The texts of the notes in the language of the user. */

import { createI18n } from "@nanostores/i18n"
import { useReadable } from "@studyroom/client/react"
import { type Language, loaded, locale } from "../../texts"
import { en } from "./en"

const i18n = createI18n(locale, { get: load })
const notes = i18n("notes", en)

export type NotesTexts = ReturnType<typeof notes.get>

const readable = { get: () => notes.get(), subscribe: (listener: () => void) => notes.listen(listener) }

export const useNotesTexts = (): NotesTexts => useReadable(readable)

/** Waits until the texts of the user's language are there. */
export async function ready(): Promise<void> {
  notes.listen(() => {})
  await loaded(i18n)
}

async function load(language: Language) {
  try {
    return language === "de" ? { notes: (await import("./de")).de } : {}
  } catch (error) {
    console.info("texts cannot be loaded:", error)
    return {} // the notes stay in English
  }
}
