import { ContentString, ContentType, decodeUpdate, Item, XmlElement } from "yjs"

/**
 * The text that an update inserts, in the order in which it was written. The update may lack what it follows, so that an
 * editor could not show it.
 */
export function textOfEdits(update: Uint8Array): string {
  let text = ""
  for (const struct of decodeUpdate(update).structs) {
    if (!(struct instanceof Item)) continue
    const { content } = struct
    if (content instanceof ContentString) text += content.str
    else if (text && content instanceof ContentType && content.type instanceof XmlElement) text += "\n"
  }
  return text
}
