/** The texts of the page in the language of its user. A language other than English is loaded when it is needed. */

import { createI18n } from "@nanostores/i18n"
import { useReadable } from "@studyroom/client/react"
import { atom } from "nanostores"
import { memory } from "../memory"
import { codes } from "./codes"
import { en } from "./en"

/** The languages, each by its own name. */
export const LANGUAGES = { en: "English", de: "Deutsch" } as const
export type Language = keyof typeof LANGUAGES

export const locale = atom<Language>(preferred())
const i18n = createI18n(locale, { get: load })
const page = i18n("page", en)
const ofCodes = i18n("codes", codes)

export type Texts = ReturnType<typeof page.get>

/** The texts, for code outside of components. */
export const texts = (): Texts => page.get()
/** The sentences for codes of the protocol. */
export const codeTexts = () => ofCodes.get()

const readable = { get: texts, subscribe: (listener: () => void) => page.listen(listener) }

/** The texts. Renders again with those of another language. */
export const useTexts = (): Texts => useReadable(readable)

const readableLocale = {
  get: () => locale.get(),
  subscribe: (listener: () => void) => locale.listen(listener),
}

export const useLanguage = (): Language => useReadable(readableLocale)

export function choose(language: Language): void {
  memory.language.set(language)
  locale.set(language)
}

/** The language for dates. English ones have the form of the user's country. */
export function dateLocale(): Language | undefined {
  const language = locale.get()
  return globalThis.navigator?.language.startsWith(language) ? undefined : language
}

/** Waits until the texts of the user's language are there, and keeps the language of the document up to date. */
export async function ready(): Promise<void> {
  for (const store of [page, ofCodes]) store.listen(() => {})
  locale.subscribe((language) => {
    document.documentElement.lang = language
  })
  await loaded(i18n)
}

/** Waits until the texts of the user's language are there. */
export async function loaded({ loading }: Pick<typeof i18n, "loading">): Promise<void> {
  if (!loading.get()) return
  await new Promise<void>((done) => {
    const end = loading.listen((isLoading) => {
      if (isLoading) return
      end()
      done()
    })
  })
}

/** Puts values into the places of a text, such as `{name}`. Values may be anything that people write. */
export function filled(text: string, values: Readonly<Record<string, string>>): string {
  return text.replace(/\{(\w+)\}/g, (place, name: string) => values[name] ?? place)
}

function preferred(): Language {
  const wanted = [memory.language.get(), ...(globalThis.navigator?.languages ?? [])]
  for (const tag of wanted) {
    const language = tag?.slice(0, 2)
    if (language && Object.hasOwn(LANGUAGES, language)) return language as Language
  }
  return "en"
}

async function load(language: Language) {
  try {
    return language === "de" ? (await import("./de")).de : {}
  } catch (error) {
    console.info("texts cannot be loaded:", error)
    return {} // the page stays in English
  }
}
