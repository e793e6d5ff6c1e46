import { useReadable } from "@studyroom/client/react"
import type { Editor } from "@tiptap/core"
import { useEffect, useId, useRef, useState } from "react"
import { Dialog } from "../Dialog"
import { Close } from "../icons"
import { useTexts } from "../texts"
import { label, notesEditor } from "./editor"
import type { NotesProps } from "./NotesPlace"
import { Stuck } from "./Stuck"
import "./notes.css"
import { notesStatus } from "./status"
import { Toolbar } from "./Toolbar"
import { useNotesTexts } from "./texts"
import { type Opened, useBefore, useNotes } from "./use-notes"
import { Versions } from "./Versions"

export { ready } from "./texts"

export function Notes({ roomId, onClose }: NotesProps) {
  const t = useTexts()
  const texts = useNotesTexts()
  const [opened, again] = useNotes(roomId)
  const titleId = useId()
  return (
    <section className="notes panel" aria-labelledby={titleId}>
      <h2 id={titleId}>{t.notes}</h2>
      {!opened && <span className="state-of-notes">{texts.connecting}</span>}
      <button type="button" className="icon" aria-label={t.close} onClick={onClose}>
        <Close />
      </button>
      {opened && <Document key={opened.shared.doc.guid} roomId={roomId} opened={opened} again={again} />}
    </section>
  )
}

interface DocumentProps {
  roomId: string
  opened: Opened
  again: () => void
}

function Document({ roomId, opened, again }: DocumentProps) {
  const t = useNotesTexts()
  const { shared } = opened
  const before = useBefore(shared)
  const state = useReadable(shared.state)
  const mayWrite = useReadable(shared.mayWrite)
  const refusal = useReadable(shared.refusal)
  const [unknown, setUnknown] = useState(false)
  const [pasteTooLarge, setPasteTooLarge] = useState(false)
  const [showsVersions, showVersions] = useState(false)
  const [editor, setEditor] = useState<Editor | null>(null)
  const place = useRef<HTMLDivElement>(null)
  const bar = useRef<HTMLDivElement>(null)
  const hintId = useId()
  const isDeleted = state.status === "deleted"
  const hidden = isDeleted || state.status === "synced" ? opened.unsaved.hiddenText() : ""
  const known = { state, mayWrite, refusal, before, unknown, hidden: hidden !== "" }
  const { light, word, sentence, stuck } = notesStatus(known, t)
  const isOver = isDeleted || state.status === "refused"
  const mayEdit = (before || stuck) && mayWrite !== false && !unknown && !isOver

  useEffect(() => {
    const made = notesEditor(place.current as HTMLElement, shared, {
      onPasteTooLarge: () => setPasteTooLarge(true),
      onUnknownContent: () => setUnknown(true),
      onEscape: () => bar.current?.querySelector<HTMLElement>('[tabindex="0"]')?.focus(),
    })
    made.on("update", () => setPasteTooLarge(false))
    setEditor(made)
    return () => made.destroy()
  }, [shared])
  useEffect(() => {
    if (editor) label(editor, t.notesOfRoom, hintId)
  }, [editor, t, hintId])
  useEffect(() => {
    if (!editor || editor.isEditable === mayEdit) return
    editor.setEditable(mayEdit, false)
    // On a phone, focus would bring up the keyboard before the user wants to write.
    if (mayEdit && !matchMedia("(pointer: coarse)").matches) editor.commands.focus("end")
  }, [editor, mayEdit])

  const notice = pasteTooLarge ? t.pasteTooLarge : sentence
  return (
    <>
      <span className="state-of-notes" data-light={light}>
        {word}
      </span>
      <button type="button" className="of-versions" aria-haspopup="dialog" onClick={() => showVersions(true)}>
        {t.versions}
      </button>
      <Dialog title={t.versions} open={showsVersions} onClose={() => showVersions(false)}>
        <Versions
          roomId={roomId}
          mayChange={mayEdit && state.status === "synced"}
          onDone={() => showVersions(false)}
        />
      </Dialog>
      {editor && mayWrite !== false && <Toolbar editor={editor} disabled={!mayEdit} bar={bar} />}
      <div className="notice-of-notes" role="status" data-light={light}>
        {notice && <p>{notice}</p>}
      </div>
      {(stuck || isDeleted) && editor && (
        <Stuck editor={editor} more={hidden} goOn={isDeleted ? t.startNew : t.goOn} again={again} />
      )}
      <div ref={place} className="page-of-notes" />
      <p id={hintId} className="hint-of-notes dim">
        {t.hint} <span className="unseen">{t.escape}</span>
      </p>
    </>
  )
}
