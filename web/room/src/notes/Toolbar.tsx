import type { Editor } from "@tiptap/core"
import { type KeyboardEvent, type ReactNode, type RefObject, useEffect, useReducer, useState } from "react"
import { Dialog } from "../Dialog"
import { Link } from "../icons"
import { Block, Brackets, Bullets, Numbers, Redo, Root, Undo } from "./icons"
import { LinkForm } from "./LinkForm"
import { useNotesTexts } from "./texts"

interface Props {
  editor: Editor
  disabled: boolean
  bar: RefObject<HTMLDivElement | null>
}

/** The tools of the editor. One of them is in the order of the keyboard, and arrows lead to the others. */
export function Toolbar({ editor, disabled, bar }: Props) {
  const t = useNotesTexts()
  const [linking, setLinking] = useState(false)
  const [current, setCurrent] = useState(0)
  useEveryChange(editor)
  const chain = () => editor.chain().focus()
  const heading = (level: 1 | 2 | 3) => ({
    sign: <Letters text={`H${level}`} />,
    name: t[`heading${level}`],
    on: editor.isActive("heading", { level }),
    act: () => chain().toggleHeading({ level }).run(),
  })
  const mark = (name: "bold" | "italic" | "code", sign: ReactNode) => ({
    sign,
    name: t[name],
    on: editor.isActive(name),
    act: () => chain().toggleMark(name).run(),
  })
  const tools: { sign: ReactNode; name: string; on?: boolean; act: () => unknown }[] = [
    heading(1),
    heading(2),
    heading(3),
    mark("bold", <Letters text="B" />),
    mark("italic", <Letters text="I" />),
    mark("code", <Brackets />),
    { sign: <Link />, name: t.link, on: editor.isActive("link"), act: () => setLinking(true) },
    {
      sign: <Bullets />,
      name: t.bullets,
      on: editor.isActive("bulletList"),
      act: () => chain().toggleBulletList().run(),
    },
    {
      sign: <Numbers />,
      name: t.numbers,
      on: editor.isActive("orderedList"),
      act: () => chain().toggleOrderedList().run(),
    },
    {
      sign: <Block />,
      name: t.codeBlock,
      on: editor.isActive("codeBlock"),
      act: () => chain().toggleCodeBlock().run(),
    },
    { sign: <Root />, name: t.maths, act: () => insertMaths(editor) },
    { sign: <Undo />, name: t.undo, act: () => chain().undo().run() },
    { sign: <Redo />, name: t.redo, act: () => chain().redo().run() },
  ]
  const move = (event: KeyboardEvent) => {
    const last = tools.length - 1
    const steps: Readonly<Record<string, number>> = {
      ArrowRight: current === last ? 0 : current + 1,
      ArrowLeft: current === 0 ? last : current - 1,
      Home: 0,
      End: last,
    }
    const next = steps[event.key]
    if (next === undefined) return
    event.preventDefault()
    setCurrent(next)
    bar.current?.querySelectorAll("button")[next]?.focus()
  }
  const close = () => {
    setLinking(false)
    editor.commands.focus()
  }
  return (
    <>
      <div ref={bar} className="bar-of-notes" role="toolbar" aria-label={t.tools} onKeyDown={move}>
        {tools.map(({ sign, name, on, act }, index) => (
          <button
            key={name}
            type="button"
            className="icon"
            title={name}
            aria-label={name}
            aria-pressed={on}
            disabled={disabled}
            tabIndex={index === current ? 0 : -1}
            onFocus={() => setCurrent(index)}
            onPointerDown={(event) => event.preventDefault()} // the selection of the editor stays
            onMouseDown={(event) => event.preventDefault()}
            onClick={act}
          >
            {sign}
          </button>
        ))}
      </div>
      <Dialog title={t.link} open={linking} onClose={close}>
        <LinkForm editor={editor} onDone={close} />
      </Dialog>
    </>
  )
}

/** Letters as a drawing: with text inside, the name of the button would have to contain it. */
function Letters({ text }: { text: string }) {
  return <span className="letters" data-text={text} />
}

/** Puts dollar signs around the selection, or inserts them with the cursor between. */
function insertMaths(editor: Editor): void {
  const { from, to } = editor.state.selection
  const tex = editor.state.doc.textBetween(from, to, " ")
  editor
    .chain()
    .focus()
    .insertContentAt({ from, to }, { type: "text", text: `$${tex}$` })
    .setTextSelection(tex ? from + tex.length + 2 : from + 1)
    .run()
}

/** Renders again after every change of the text and of the selection. */
function useEveryChange(editor: Editor): void {
  const [, repeat] = useReducer((count: number) => count + 1, 0)
  useEffect(() => {
    editor.on("transaction", repeat)
    return () => {
      editor.off("transaction", repeat)
    }
  }, [editor])
}
