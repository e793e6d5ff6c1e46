import { type ChatMessage, isBlank } from "@studyroom/client"
import { useClient, useReadable } from "@studyroom/client/react"
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
import { Send } from "../icons"
import { dateLocale, filled, useTexts } from "../texts"
import { divided, lengthOf } from "./length"

/** The time without a key after which the user is no longer typing. */
const IDLE_MS = 3000
const LEFT_SHOWN = 200
/** The code of a key that belongs to an input method. Safari sends it for the Enter that ends a composition. */
const OF_INPUT_METHOD = 229

export interface ComposerHandle {
  focus(): void
  /** Offer a message that could not be sent for editing. The draft in the field comes back afterwards. */
  edit(message: ChatMessage): void
}

interface Props {
  handle: Ref<ComposerHandle>
  onSent: () => void
}

export function Composer({ handle, onSent }: Props) {
  const client = useClient()
  const t = useTexts()
  const [text, setText] = useState("")
  const [edited, setEdited] = useState<{ id: string; draft: string } | null>(null)
  const field = useRef<HTMLTextAreaElement>(null)
  const setTyping = useTypingNotice()
  const noteId = useId()
  const { chatChars: longest } = useReadable(client.limits)
  const left = longest - lengthOf(text.trim())

  useImperativeHandle(handle, () => ({
    focus: () => field.current?.focus(),
    edit: ({ id, content }) => {
      setEdited({ id, draft: edited ? edited.draft : text })
      setText(content)
      field.current?.focus()
    },
  }))

  const change = (value: string) => {
    setText(value)
    setTyping(!isBlank(value))
  }

  const finishEditing = () => {
    setText(edited?.draft ?? "")
    setEdited(null)
    field.current?.focus()
  }

  const send = (messages: readonly string[]) => {
    setTyping(false)
    if (edited) client.discardChat(edited.id)
    for (const message of messages) client.sendChat(message)
    finishEditing()
    onSent()
  }
  /** A text that is too long stays in the field, and the note above it offers what can be done. */
  const sendIfFitting = () => {
    if (left >= 0 && !isBlank(text)) send([text.trim()])
  }

  const press = (event: KeyboardEvent) => {
    const composing = event.nativeEvent.isComposing || event.keyCode === OF_INPUT_METHOD
    if (event.key !== "Enter" || event.shiftKey || composing) return
    event.preventDefault()
    sendIfFitting()
  }
  const submit = (event: FormEvent) => {
    event.preventDefault()
    sendIfFitting()
  }

  return (
    <form className="composer" onSubmit={submit}>
      {edited && (
        <p className="note">
          <span>{t.editing}</span>
          <button type="button" onClick={finishEditing}>
            {t.cancel}
          </button>
        </p>
      )}
      <div className="note over" id={noteId}>
        <span role="status">{left < 0 && t.tooLong}</span>
        {left < 0 && <TooLong by={-left} messages={divided(text, longest)} onSend={send} />}
      </div>
      <textarea
        ref={field}
        dir="auto"
        rows={1}
        value={text}
        aria-label={t.message}
        aria-invalid={left < 0}
        aria-describedby={left < 0 ? noteId : undefined}
        placeholder={t.message}
        autoComplete="off"
        onChange={(event) => change(event.target.value)}
        onKeyDown={press}
      />
      {left >= 0 && left < LEFT_SHOWN && <output className="dim">{t.left({ count: left })}</output>}
      <button type="submit" className="primary icon" aria-label={t.send} disabled={isBlank(text) || left < 0}>
        <Send />
      </button>
    </form>
  )
}

interface TooLongProps {
  by: number
  /** The text in parts that fit. */
  messages: readonly string[]
  onSend: (messages: readonly string[]) => void
}

function TooLong({ by, messages, onSend }: TooLongProps) {
  const t = useTexts()
  return (
    <>
      <span>{filled(t.tooLongBy(by), { number: by.toLocaleString(dateLocale()) })}</span>
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
