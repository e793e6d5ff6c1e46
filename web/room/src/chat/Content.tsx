import { Fragment, memo } from "react"
import { withLinks } from "./links"
import { Maths } from "./Maths"
import { pieces } from "./pieces"

/** The text of a message, with its web addresses as links, and its code and maths. */
export const Content = memo(function Content({ text }: { text: string }) {
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
            <Linked text={piece.text} />
          </Fragment>
        )
    }
  })
})

function Linked({ text }: { text: string }) {
  let position = 0
  return withLinks(text).map(({ text, href }) => {
    position += text.length
    if (href === undefined) return text
    return (
      <a key={position} href={href} target="_blank" rel="noopener noreferrer">
        {text}
      </a>
    )
  })
}
