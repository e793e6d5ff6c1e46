/**
 * Maths between dollar signs, shown as such where nobody edits it. The document has only its source, so it is text
 * for everyone, also for other editors. While the cursor touches a formula, the user sees and edits its source.
 */

import { Extension } from "@tiptap/core"
import type { Node } from "@tiptap/pm/model"
import { type EditorState, Plugin, PluginKey, TextSelection } from "@tiptap/pm/state"
import { Decoration, DecorationSet, type EditorView } from "@tiptap/pm/view"
import { located } from "../chat/pieces"

type Draw = (tex: string, display: boolean) => Element | null

interface Formula {
  from: number
  to: number
  tex: string
  display: boolean
}

interface Shown {
  draw: Draw | null
  hasFocus: boolean
  decorations: DecorationSet
}

const key = new PluginKey<Shown>("maths")
/** Takes the place of everything except plain text. */
const OTHER = "\ufffc"

/** The formulas of a block of text, by position in its content. Nodes never change, so they are looked for once. */
const known = new WeakMap<Node, readonly Formula[]>()

export function formulasOf(block: Node): readonly Formula[] {
  const before = known.get(block)
  if (before) return before
  const found = located(plainText(block)).flatMap(({ piece, start, end }): Formula[] =>
    piece.type === "maths" ? [{ from: start, to: end, tex: piece.tex, display: piece.display }] : [],
  )
  known.set(block, found)
  return found
}

/** The text of a block, in which each character has its position in the block. */
function plainText(block: Node): string {
  let text = ""
  block.forEach((node) => {
    const isPlain = node.isText && !node.marks.some(({ type }) => type.name === "code")
    if (isPlain) text += node.text
    else text += (node.type.name === "hardBreak" ? "\n" : OTHER).repeat(node.nodeSize)
  })
  return text
}

function decorationsOf(state: EditorState, draw: Draw | null, hasFocus: boolean): DecorationSet {
  if (draw === null) return DecorationSet.empty
  const { from, to } = state.selection
  const found: Decoration[] = []
  state.doc.descendants((block, position) => {
    if (!block.isTextblock) return true
    if (block.type.spec.code) return false
    for (const formula of formulasOf(block)) {
      const start = position + 1 + formula.from
      const end = position + 1 + formula.to
      if (hasFocus && from <= end && to >= start) {
        found.push(Decoration.inline(start, end, { class: "tex" }))
        continue
      }
      const drawn = draw(formula.tex, formula.display)
      if (drawn === null) continue
      found.push(
        Decoration.widget(start, (view, position) => widget(view, position, drawn, formula.display), {
          key: `${formula.display} ${formula.tex}`,
          side: -1,
        }),
        Decoration.inline(start, end, { class: "tex hidden" }),
      )
    }
    return false
  })
  return DecorationSet.create(state.doc, found)
}

function widget(view: EditorView, position: () => number | undefined, drawn: Element, display: boolean) {
  const span = document.createElement("span")
  span.className = display ? "maths display" : "maths"
  span.append(drawn.cloneNode(true))
  span.addEventListener("mousedown", (event) => {
    const at = position()
    if (at === undefined || !view.editable) return
    event.preventDefault()
    view.dispatch(view.state.tr.setSelection(TextSelection.create(view.state.doc, at + 1)))
    view.focus()
  })
  return span
}

export const Maths = Extension.create({
  name: "maths",
  addProseMirrorPlugins: () => [
    new Plugin<Shown>({
      key,
      state: {
        init: () => ({ draw: null, hasFocus: false, decorations: DecorationSet.empty }),
        apply(transaction, before, _old, state) {
          const news = transaction.getMeta(key) as Partial<Shown> | undefined
          if (!news && !transaction.docChanged && !transaction.selectionSet) return before
          const { draw, hasFocus } = { ...before, ...news }
          return { draw, hasFocus, decorations: decorationsOf(state, draw, hasFocus) }
        },
      },
      props: {
        decorations: (state) => key.getState(state)?.decorations,
        handleDOMEvents: {
          focus: (view) => tell(view, { hasFocus: true }),
          blur: (view) => tell(view, { hasFocus: false }),
        },
      },
      view: (view) => ({ update: loader(view) }),
    }),
  ],
})

function tell(view: EditorView, news: Partial<Shown>): false {
  view.dispatch(view.state.tr.setMeta(key, news))
  return false
}

/** Loads the library when the first formula is there. */
function loader(view: EditorView): () => void {
  let asked = false
  return () => {
    if (asked || !hasFormula(view.state.doc)) return
    asked = true
    import("../chat/tex")
      .then(({ drawn }) => !view.isDestroyed && tell(view, { draw: remembering(drawn) }))
      .catch((error: unknown) => console.info("maths cannot be shown:", error))
  }
}

function hasFormula(doc: Node): boolean {
  let found = false
  doc.descendants((block) => {
    if (found || !block.isTextblock) return !found
    found = !block.type.spec.code && formulasOf(block).length > 0
    return false
  })
  return found
}

const MOST_REMEMBERED = 500

/** Draws each formula once. */
function remembering(draw: Draw): Draw {
  const drawn = new Map<string, Element | null>()
  return (tex, display) => {
    const name = `${display} ${tex}`
    const before = drawn.get(name)
    if (before !== undefined) return before
    if (drawn.size >= MOST_REMEMBERED) drawn.clear()
    const now = draw(tex, display)
    drawn.set(name, now)
    return now
  }
}
