import { type ChatMessage, isBlank } from "@studyroom/client"
import type { LivingMessage } from "@studyroom/client/living-chat"
import { useClient, useLivingChat, useReadable } from "@studyroom/client/react"
import {
  type FormEvent,
  type KeyboardEvent,
  type Ref,
  useEffect,
  useId,
  useImperativeHandle,
  useRef,
  useState,
} from "react"
import { sentence } from "../codes"
import { Send } from "../icons"
import { dateLocale, filled, useTexts } from "../texts"
import { divided, lengthOf } from "./length"
import { failure } from "./living/Deletion"
import { Suggestions, useMentions } from "./living/Suggestions"
import { TaskNote } from "./living/TaskNote"

/** The time without a key after which the user is no longer typing. */
const IDLE_MS = 3000
const LEFT_SHOWN = 200
/** The code of a key that belongs to an input method. Safari sends it for the Enter that ends a composition. */
const OF_INPUT_METHOD = 229

/** The purpose of the text in the field, unless it is a new message. `failed`: it replaces one that could not be sent. */
export type Task =
  | { kind: "failed"; message: ChatMessage; draft: string }
  | { kind: "edit" | "reply"; message: LivingMessage; draft: string }

export interface ComposerHandle {
  focus(): void
  /** Offer a message for editing, or for a reply. The draft in the field comes back after an edit. */
  begin(kind: "failed", message: ChatMessage): void
  begin(kind: "edit" | "reply", message: LivingMessage): void
}

interface Props {
  handle: Ref<ComposerHandle>
  onSent: () => void
  /** The user wants to edit their last message. */
  onEditLast: () => void
}

export function Composer({ handle, onSent, onEditLast }: Props) {
  const client = useClient()
  const { edit } = useLivingChat()
  const t = useTexts()
  const [text, setText] = useState("")
  const [task, setTask] = useState<Task | null>(null)
  const [saving, setSaving] = useState(false)
  const [fault, setFault] = useState<string | null>(null)
  const field = useRef<HTMLTextAreaElement>(null)
  const setTyping = useTypingNotice()
  const noteId = useId()
  const { chatChars: longest } = useReadable(client.limits)
  const left = longest - lengthOf(text.trim())
  const mentions = useMentions(field, text, setText)

  /** The draft that waits while a message is edited. A reply is written into the draft itself. */
  const draft = task && task.kind !== "reply" ? task.draft : text

  useImperativeHandle(handle, () => ({
    focus: () => field.current?.focus(),
    begin: (kind: Task["kind"], message: ChatMessage) => {
      setTask({ kind, message, draft } as Task)
      setText(kind === "reply" ? draft : message.content)
      setFault(null)
      field.current?.focus()
    },
  }))

  const change = (value: string) => {
    setText(value)
    setFault(null)
    setTyping(!isBlank(value))
    mentions.look()
  }
  const finish = (rest: string) => {
    setText(rest)
    setTask(null)
    setFault(null)
    mentions.forget()
    field.current?.focus()
  }
  const cancel = () => finish(draft)

  const send = (messages: readonly string[]) => {
    setTyping(false)
    if (task?.kind === "failed") client.discardChat(task.message.id)
    const replyTo = task?.kind === "reply" ? task.message.id : task?.message.reply_to
    for (const [index, message] of messages.entries())
      client.sendChat(message, mentions.references(message, index === 0 ? replyTo : null))
    finish(task?.kind === "failed" ? task.draft : "")
    onSent()
  }
  /** A failed edit stays in the field with the reason. */
  const save = async ({ message }: Extract<Task, { kind: "edit" | "reply" }>) => {
    setTyping(false)
    setSaving(true)
    const code = await failure(edit(message, text.trim(), mentions.of(text, message.mentioned)))
    setSaving(false)
    if (code === null) finish(draft)
    else setFault(sentence(code))
  }
  /** A text that is too long stays in the field, and the note above it offers what can be done. */
  const sendIfFitting = () => {
    if (left < 0 || isBlank(text) || saving) return
    if (task?.kind === "edit") void save(task)
    else send([text.trim()])
  }

  const press = (event: KeyboardEvent) => {
    const composing = event.nativeEvent.isComposing || event.keyCode === OF_INPUT_METHOD
    if (composing || mentions.press(event)) return
    if (event.key === "Escape" && task && !saving) cancel()
    else if (event.key === "ArrowUp" && text === "" && !task) onEditLast()
    else if (event.key === "Enter" && !event.shiftKey) sendIfFitting()
    else return
    event.preventDefault()
  }
  const submit = (event: FormEvent) => {
    event.preventDefault()
    sendIfFitting()
  }

  return (
    <form className="composer" onSubmit={submit}>
      {task && <TaskNote task={task} saving={saving} fault={fault} onCancel={cancel} />}
      <div className="note over" id={noteId}>
        <span role="status">{left < 0 && t.tooLong}</span>
        {left < 0 && (
          <TooLong
            by={-left}
            messages={divided(text, longest)}
            onSend={task?.kind === "edit" ? undefined : send}
          />
        )}
      </div>
      <Suggestions {...mentions} />
      <textarea
        ref={field}
        dir="auto"
        rows={1}
        value={text}
        readOnly={saving}
        aria-label={t.message}
        aria-invalid={left < 0}
        aria-describedby={left < 0 ? noteId : undefined}
        {...mentions.attributes}
        placeholder={t.message}
        autoComplete="off"
        onChange={(event) => change(event.target.value)}
        onSelect={mentions.look}
        onBlur={mentions.close}
        onKeyDown={press}
      />
      {left >= 0 && left < LEFT_SHOWN && <output className="dim">{t.left({ count: left })}</output>}
      <button
        type="submit"
        className="primary icon"
        aria-label={task?.kind === "edit" ? t.save : t.send}
        disabled={isBlank(text) || left < 0 || saving}
      >
        <Send />
      </button>
    </form>
  )
}

interface TooLongProps {
  by: number
  /** The text in parts that fit. */
  messages: readonly string[]
  /** Absent where it cannot be sent in parts. */
  onSend: ((messages: readonly string[]) => void) | undefined
}

function TooLong({ by, messages, onSend }: TooLongProps) {
  const t = useTexts()
  const number = by.toLocaleString(dateLocale())
  if (!onSend) return <span>{filled(t.tooLongToSave(by), { number })}</span>
  return (
    <>
      <span>{filled(t.tooLongBy(by), { number })}</span>
      <button type="button" onClick={() => onSend(messages)}>
        {t.sendParts({ count: messages.length })}
      </button>
    </>
  )
}

/** Returns a function for every key. The notice ends by itself when no key follows. */
function useTypingNotice(): (is: boolean) => void {
  const client = useClient()
  const idle = useRef(0)
  useEffect(() => () => clearTimeout(idle.current), [])
  return (is) => {
    clearTimeout(idle.current)
    client.setTyping(is)
    if (is) idle.current = window.setTimeout(() => client.setTyping(false), IDLE_MS)
  }
}
