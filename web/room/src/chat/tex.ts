/** Maths in TeX as MathML. This module and its library are loaded when a message has some. */

import temml from "temml"
import "temml/dist/Temml-Local.css"

/** In em: nothing is larger than a message. */
const LARGEST = 20
/** The most macros that are expanded, so that no message keeps the page busy. */
const MOST_EXPANDED = 200

/** Returns null if the TeX has a mistake. */
export function drawn(tex: string, display: boolean): Element | null {
  const around = document.createElement("span")
  try {
    temml.render(tex, around, {
      displayMode: display,
      throwOnError: true,
      annotate: false,
      trust: false,
      maxSize: [LARGEST, LARGEST],
      maxExpand: MOST_EXPANDED,
    })
  } catch (error) {
    if (error instanceof Error) return null
    throw error
  }
  // Labels and references would be names in the page and change its address.
  for (const name of ["id", "href"])
    for (const part of around.querySelectorAll(`[${name}]`)) part.removeAttribute(name)
  return around.firstElementChild
}
