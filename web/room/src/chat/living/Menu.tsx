import type { LivingMessage } from "@studyroom/client/living-chat"
import { type KeyboardEvent, useEffect, useLayoutEffect, useRef } from "react"
import { Bin, Pen, Reply } from "../../icons"
import { useTexts } from "../../texts"

const REACTIONS = ["👍", "❤️", "😂", "🎉", "🤔", "👀"]
const STEPS: Readonly<Record<string, number>> = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }
const MARGIN_PX = 6

interface Props {
  message: LivingMessage
  /** Its accessible name. */
  label: string
  /** The button that opened it. The menu is beside it. */
  anchor: HTMLElement
  onReact: (reaction: string, isOn: boolean) => void
  onReply: () => void
  onEdit: () => void
  onDelete: () => void
  /** The user has chosen something, or wants nothing. */
  onClose: () => void
}

/** The actions that a member can choose for a message. Arrows go through it, and Escape closes it. */
export function Menu({ message, label, anchor, onReact, onReply, onEdit, onDelete, onClose }: Props) {
  const t = useTexts()
  const menu = useRef<HTMLDivElement>(null)

  useLayoutEffect(() => {
    place(menu.current as HTMLElement, anchor)
    items(menu.current)[0]?.focus({ preventScroll: true })
  }, [anchor])
  useEffect(() => {
    const pressed = ({ target }: Event) => {
      if (!menu.current?.contains(target as Node) && !anchor.contains(target as Node)) onClose()
    }
    document.addEventListener("pointerdown", pressed)
    // A phone's keyboard leaves when the menu takes the focus, and then the window is another size.
    const placeAgain = () => place(menu.current as HTMLElement, anchor)
    addEventListener("resize", placeAgain)
    return () => {
      document.removeEventListener("pointerdown", pressed)
      removeEventListener("resize", placeAgain)
    }
  }, [anchor, onClose])

  const press = (event: KeyboardEvent) => {
    const all = items(menu.current)
    const step = STEPS[event.key] ?? 0
    const now = all.indexOf(document.activeElement as HTMLElement)
    const next = { Home: 0, End: all.length - 1 }[event.key] ?? (now + step + all.length) % all.length
    if (event.key === "Escape" || event.key === "Tab") {
      anchor.focus({ preventScroll: true })
      onClose()
    } else if (next === now) return
    else all[next]?.focus()
    event.preventDefault()
    event.stopPropagation()
  }
  const choose = (what: () => void) => () => {
    anchor.focus({ preventScroll: true })
    onClose()
    what()
  }
  const own = (reaction: string) => message.reacted.some((one) => one.reaction === reaction && one.own)
  return (
    <div ref={menu} className="menu panel" role="menu" aria-label={label} tabIndex={-1} onKeyDown={press}>
      {/* biome-ignore lint/a11y/useSemanticElements: a fieldset is for forms */}
      <div className="signs-of-menu" role="group" aria-label={t.react}>
        {REACTIONS.map((reaction) => (
          <button
            key={reaction}
            type="button"
            role="menuitemcheckbox"
            aria-checked={own(reaction)}
            tabIndex={-1}
            onClick={choose(() => onReact(reaction, !own(reaction)))}
          >
            {reaction}
          </button>
        ))}
      </div>
      <button type="button" role="menuitem" tabIndex={-1} onClick={choose(onReply)}>
        <Reply />
        {t.reply}
      </button>
      {message.own && (
        <>
          <button type="button" role="menuitem" tabIndex={-1} onClick={choose(onEdit)}>
            <Pen />
            {t.edit}
          </button>
          <button type="button" role="menuitem" tabIndex={-1} onClick={choose(onDelete)}>
            <Bin />
            {t.deleteIt}
          </button>
        </>
      )}
    </div>
  )
}

function items(menu: HTMLElement | null): HTMLElement[] {
  return [...(menu?.querySelectorAll<HTMLElement>("button") ?? [])]
}

/** Below its anchor, or above where there is no room, and always within the window. */
function place(menu: HTMLElement, anchor: HTMLElement): void {
  const button = anchor.getBoundingClientRect()
  const { width, height } = menu.getBoundingClientRect()
  const below = button.bottom + MARGIN_PX + height <= innerHeight
  const top = below ? button.bottom + MARGIN_PX : button.top - MARGIN_PX - height
  const left = button.left + button.width / 2 < innerWidth / 2 ? button.left : button.right - width
  menu.style.top = `${within(top, innerHeight - height)}px`
  menu.style.left = `${within(left, innerWidth - width)}px`
}

function within(value: number, most: number): number {
  return Math.max(MARGIN_PX, Math.min(value, most - MARGIN_PX))
}
