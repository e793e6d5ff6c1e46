import { Fragment } from "react"
import { useTexts } from "./texts"

/** Names in a sentence. Each keeps its own direction of writing, and the sentence around it keeps its own too. */
export function Names({ names }: { names: readonly string[] }) {
  const t = useTexts()
  const others = names.length > 3 ? names.length - 2 : 0
  const shown = others ? names.slice(0, 2) : names
  const last = shown.length - 1
  return (
    <>
      {shown.map((name, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: two people may have the same name
        <Fragment key={index}>
          {index > 0 && (index === last && !others ? ` ${t.and} ` : ", ")}
          <bdi>{name}</bdi>
        </Fragment>
      ))}
      {others > 0 && ` ${t.andOthers({ count: others })}`}
    </>
  )
}
