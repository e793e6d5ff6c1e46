/** Code and maths in a text. Pure. Everything that is neither stays text. */

export type Piece =
  | { type: "text"; text: string }
  /** Code within a line. */
  | { type: "code"; text: string }
  /** Lines of code between fences. */
  | { type: "block"; text: string }
  /** `display`: on a line of its own. `source`: as it was written. */
  | { type: "maths"; tex: string; display: boolean; source: string }

interface Found {
  piece: Piece
  end: number
}

/** A piece of code or maths, and where it is: from `start` up to `end`. */
export interface Located extends Found {
  start: number
}

const OPENING = /```|`|\$\$|\$|\\\(|\\\[/g

/** Divides a text into its pieces. Marks that nothing closes are text. */
export function pieces(content: string): Piece[] {
  const found: Piece[] = []
  let done = 0
  const addText = (end: number) => {
    if (end > done) found.push({ type: "text", text: content.slice(done, end) })
  }
  for (const { piece, start, end } of located(content)) {
    addText(start)
    found.push(piece)
    done = end
  }
  addText(content.length)
  return withoutGaps(found)
}

/** The code and the maths in a text, in its order. */
export function located(content: string): Located[] {
  const found: Located[] = []
  OPENING.lastIndex = 0
  for (let match = OPENING.exec(content); match; match = OPENING.exec(content)) {
    const next = opened(content, match.index, match[0])
    if (next === null) continue
    found.push({ ...next, start: match.index })
    OPENING.lastIndex = next.end
  }
  return found
}

/** The piece that begins at this index, or null if it is not closed. */
function opened(content: string, index: number, opening: string): Found | null {
  switch (opening) {
    case "```":
      return fenced(content, index)
    case "`":
      return inLine(content, index + 1)
    case "$$":
      return maths(content, index, "$$", "$$", true)
    case "\\[":
      return maths(content, index, "\\[", "\\]", true)
    case "\\(":
      return maths(content, index, "\\(", "\\)", false)
    default:
      return dollars(content, index)
  }
}

function fenced(content: string, index: number): Found | null {
  const start = index + 3
  const close = content.indexOf("```", start)
  if (close === -1) return null
  const inside = content.slice(start, close)
  // The rest of the first line may name a language.
  const text = inside.replace(/^[\w+#.-]*[ \t]*\r?\n/, "").replace(/\r?\n[ \t]*$/, "")
  return text.trim() === "" ? null : { piece: { type: "block", text }, end: close + 3 }
}

function inLine(content: string, start: number): Found | null {
  const close = content.indexOf("`", start)
  const text = content.slice(start, close)
  if (close === -1 || text.trim() === "" || text.includes("\n")) return null
  return { piece: { type: "code", text }, end: close + 1 }
}

function maths(
  content: string,
  index: number,
  opening: string,
  closing: string,
  display: boolean,
): Found | null {
  const start = index + opening.length
  const close = content.indexOf(closing, start)
  const tex = content.slice(start, close).trim()
  if (close === -1 || tex === "") return null
  const end = close + closing.length
  return { piece: { type: "maths", tex, display, source: content.slice(index, end) }, end }
}

/** Maths between single dollars, and not two prices: it touches both, on one line, and no digit follows. */
function dollars(content: string, index: number): Found | null {
  const start = index + 1
  if (content[index - 1] === "\\" || /\s/.test(content[start] ?? " ")) return null
  const newLine = content.indexOf("\n", start)
  const line = newLine === -1 ? content.length : newLine
  for (let close = content.indexOf("$", start); close !== -1 && close < line; ) {
    const fits =
      close > start && !/[\s\\]/.test(content[close - 1] as string) && !/\d/.test(content[close + 1] ?? "")
    if (fits) {
      const source = content.slice(index, close + 1)
      return { piece: { type: "maths", tex: source.slice(1, -1), display: false, source }, end: close + 1 }
    }
    close = content.indexOf("$", close + 1)
  }
  return null
}

/** A block begins a line of its own, so the line breaks around it would show as gaps. */
function withoutGaps(found: readonly Piece[]): Piece[] {
  const isBlock = (piece: Piece | undefined) =>
    piece?.type === "block" || (piece?.type === "maths" && piece.display)
  return found.flatMap((piece, index): Piece[] => {
    if (piece.type !== "text") return [piece]
    let { text } = piece
    if (isBlock(found[index - 1])) text = text.replace(/^[ \t]*\r?\n/, "")
    if (isBlock(found[index + 1])) text = text.replace(/\r?\n[ \t]*$/, "")
    return text === "" ? [] : [{ type: "text", text }]
  })
}
