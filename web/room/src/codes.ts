/** The sentence for each code of the protocol, in the language of the user. */

import type { FailureCode } from "@studyroom/client"
import { codeTexts } from "./texts"

/** The sentence for a code of an error. Servers may send codes that this page does not know. */
export function sentence(code: string): string {
  const t = codeTexts()
  const found = Object.hasOwn(t, code) ? t[code as FailureCode] : t.general
  return typeof found === "string" ? found : t.general
}

/** The sentence for an end after which the client does not connect again by itself. */
export function closeSentence({ code, cause }: { code: number; cause: { code: string } }): string {
  if (cause.code !== "server_closed") return sentence(cause.code)
  const t = codeTexts()
  const known: Readonly<Record<number, string>> = {
    1000: t.close_called,
    1002: t.ourFault,
    1003: t.ourFault,
    1007: t.ourFault,
    1009: t.tooLarge,
    4500: t.floods,
    4501: t.disconnected,
    4502: t.banned,
  }
  return known[code] ?? t.unknownClose({ code })
}
