import { useEffect, useRef, useState } from "react"
import { Close, Link } from "./icons"
import { useTexts } from "./texts"

/** The time for which the page shows that the link was copied. */
const SHOWN_MS = 4000

type Outcome = "none" | "shared" | "copied" | "by hand"

/** Hands the link to the system's menu for sharing where there is one. Otherwise it copies the link, or selects it. */
export function Invite({ link }: { link: string }) {
  const [outcome, setOutcome] = useState<Outcome>("none")
  const field = useRef<HTMLInputElement>(null)
  const sharing = canShare(link)
  const t = useTexts()
  const said = { none: "", shared: t.linkShared, copied: t.linkCopied, "by hand": t.linkByHand }

  const hand = async () => {
    setOutcome("none") // so that a second press is announced too
    if (sharing) {
      const shared = await share(link)
      if (shared !== "impossible") return setOutcome(shared === "done" ? "shared" : "none")
    }
    setOutcome((await copy(link)) || copySelected(field.current) ? "copied" : "by hand")
  }

  useEffect(() => {
    if (outcome === "by hand") {
      field.current?.focus()
      field.current?.select()
    }
    if (outcome !== "copied" && outcome !== "shared") return
    const timer = setTimeout(() => setOutcome("none"), SHOWN_MS)
    return () => clearTimeout(timer)
  }, [outcome])

  const label = sharing ? t.shareLink : t.copyLink
  return (
    <div className="invite" data-outcome={outcome}>
      <input
        ref={field}
        readOnly
        value={link}
        aria-label={t.linkToRoom}
        onFocus={(event) => event.target.select()}
      />
      <button type="button" className="hand" onClick={hand}>
        <Link />
        <span className="wide">{outcome === "copied" ? t.copied : label}</span>
      </button>
      <p className="outcome" aria-live="polite">
        {said[outcome]}
      </p>
      {outcome === "by hand" && (
        <button type="button" className="icon" aria-label={t.close} onClick={() => setOutcome("none")}>
          <Close />
        </button>
      )}
    </div>
  )
}

function canShare(link: string): boolean {
  return typeof navigator.share === "function" && (navigator.canShare?.({ url: link }) ?? true)
}

async function share(link: string): Promise<"done" | "cancelled" | "impossible"> {
  try {
    await navigator.share({ title: document.title, url: link })
    return "done"
  } catch (error) {
    return error instanceof DOMException && error.name === "AbortError" ? "cancelled" : "impossible"
  }
}

/** Browsers offer the clipboard to pages over HTTPS only, and may refuse it. */
async function copy(link: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(link)
    return true
  } catch {
    return false
  }
}

/** The older way, which pages over plain HTTP may use too. */
function copySelected(field: HTMLInputElement | null): boolean {
  const focused = document.activeElement
  field?.focus()
  field?.select()
  const copied = field !== null && document.execCommand("copy")
  if (focused instanceof HTMLElement) focused.focus()
  return copied
}
