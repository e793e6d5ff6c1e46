/** The texts of the page in the language of its user. A language other than English is loaded when it is needed. */

import { createI18n } from "@nanostores/i18n"
import { useReadable } from "@studyroom/client/react"
import { atom } from "nanostores"
import { en } from "./en"

const locale = atom<"en">("en")
const i18n = createI18n(locale, { get: async () => ({}) })
const page = i18n("page", en)

export type Texts = ReturnType<typeof page.get>

/** The texts, for code outside of components. */
export const texts = (): Texts => page.get()

const readable = { get: texts, subscribe: (listener: () => void) => page.listen(listener) }

export const useTexts = (): Texts => useReadable(readable)

/** Puts values into the places of a text, such as `{name}`. Values may be anything that people write. */
export function filled(text: string, values: Readonly<Record<string, string>>): string {
  return text.replace(/\{(\w+)\}/g, (place, name: string) => values[name] ?? place)
}
