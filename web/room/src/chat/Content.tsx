import { Fragment, memo } from "react"
import { withLinks } from "./links"
import { split } from "./living/mentions"
import { Maths } from "./Maths"
import { pieces } from "./pieces"

interface Props {
  text: string
  /** The names of the users that it mentions. */
  mentioned?: readonly string[]
}

/** The text of a message, with its web addresses as links, its mentions, and its code and maths. */
export const Content = memo(function Content({ text, mentioned = NONE }: Props) {
  return pieces(text).map((piece, index) => {
    const key = `${index} ${piece.type}`
    switch (piece.type) {
      case "code":
        return <code key={key}>{piece.text}</code>
      case "block":
        return (
          // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
          <pre key={key} tabIndex={0}>
            <code>{piece.text}</code>
          </pre>
        )
      case "maths":
        return <Maths key={key} {...piece} />
      default:
        return (
          <Fragment key={key}>
            <Linked text={piece.text} mentioned={mentioned} />
          </Fragment>
        )
    }
  })
})

const NONE: readonly string[] = []

function Linked({ text, mentioned }: { text: string; mentioned: readonly string[] }) {
  let position = 0
  return withLinks(text).map(({ text, href }) => {
    position += text.length
    if (href === undefined) return <Mentioning key={position} text={text} mentioned={mentioned} />
    return (
      <a key={position} href={href} target="_blank" rel="noopener noreferrer">
        {text}
      </a>
    )
  })
}

function Mentioning({ text, mentioned }: { text: string; mentioned: readonly string[] }) {
  if (mentioned.length === 0) return text
  let position = 0
  return split(text, mentioned).map(({ text, name }) => {
    position += text.length
    if (name === undefined) return text
    return (
      <bdi key={position} className="mention">
        {text}
      </bdi>
    )
  })
}
