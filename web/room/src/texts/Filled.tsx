import { Fragment, type ReactNode } from "react"

interface Props {
  /** With places such as `{names}`. */
  text: string
  values: Readonly<Record<string, ReactNode>>
}

/** A text with elements in its places. */
export function Filled({ text, values }: Props) {
  return text.split(/\{(\w+)\}/).map((part, index) => (
    // biome-ignore lint/suspicious/noArrayIndexKey: the parts of a text keep their order
    <Fragment key={index}>{index % 2 ? values[part] : part}</Fragment>
  ))
}
