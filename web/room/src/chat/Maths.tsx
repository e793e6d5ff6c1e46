import { useEffect, useRef, useState } from "react"

interface Props {
  tex: string
  display: boolean
  source: string
}

/**
 * Maths in TeX, shown as MathML. The library is loaded for the first message that has some. Until then, and if the TeX
 * has a mistake, the page shows what was written.
 */
export function Maths({ tex, display, source }: Props) {
  const place = useRef<HTMLSpanElement>(null)
  const [shown, setShown] = useState(false)
  useEffect(() => {
    let wanted = true
    import("./tex")
      .then(({ drawn }) => {
        const node = wanted ? drawn(tex, display) : null
        if (node === null) return
        place.current?.replaceChildren(node)
        setShown(true)
      })
      .catch((error: unknown) => console.info("maths cannot be shown:", error))
    return () => {
      wanted = false
    }
  }, [tex, display])
  return (
    <span className={display ? "maths display" : "maths"}>
      {!shown && <code>{source}</code>}
      {/* React puts nothing here. */}
      <span ref={place} />
    </span>
  )
}
