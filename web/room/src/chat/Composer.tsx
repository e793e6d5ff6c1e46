import { isBlank } from "@studyroom/client"
import { useClient } from "@studyroom/client/react"
import { type KeyboardEvent, type Ref, useEffect, useImperativeHandle, useRef, useState } from "react"
import { Send } from "../icons"

/** Then the others are told that nothing more is being typed. */
const IDLE_MS = 3000
const LONGEST = 4000
const LEFT_SHOWN = 200

export interface ComposerHandle {
  focus(): void
  /** Puts a text that could not be sent back, where nothing else stands. */
  giveBack(text: string): void
}

interface Props {
  handle: Ref<ComposerHandle>
  onSent: () => void
}

export function Composer({ handle, onSent }: Props) {
  const client = useClient()
  const [text, setText] = useState("")
  const field = useRef<HTMLTextAreaElement>(null)
  const idle = useRef(0)
  const left = LONGEST - text.length

  useImperativeHandle(handle, () => ({
    focus: () => field.current?.focus(),
    giveBack: (returned) => {
      setText((present) => present || returned)
      field.current?.focus()
    },
  }))

  const typing = (is: boolean) => {
    clearTimeout(idle.current)
    client.setTyping(is)
    if (is) idle.current = window.setTimeout(() => client.setTyping(false), IDLE_MS)
  }

  useEffect(() => () => clearTimeout(idle.current), [])

  const change = (value: string) => {
    setText(value)
    typing(!isBlank(value))
  }

  const send = () => {
    if (isBlank(text)) return
    typing(false)
    client.sendChat(text.trim())
    setText("")
    onSent()
    field.current?.focus()
  }

  const press = (event: KeyboardEvent) => {
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return
    event.preventDefault()
    send()
  }

  return (
    <form
      className="composer"
      onSubmit={(event) => {
        event.preventDefault()
        send()
      }}
    >
      <textarea
        ref={field}
        rows={1}
        value={text}
        aria-label="Message"
        placeholder="Message"
        autoComplete="off"
        maxLength={LONGEST}
        onChange={(event) => change(event.target.value)}
        onKeyDown={press}
      />
      {left < LEFT_SHOWN && <output className="dim">{left} left</output>}
      <button type="submit" className="primary icon" aria-label="Send" disabled={isBlank(text)}>
        <Send />
      </button>
    </form>
  )
}
