import type { LivingMessage } from "@studyroom/client/living-chat"
import { useMemo } from "react"
import { Content } from "../Content"
import { useNameOf } from "./people"

/** The content of a message that mentions people, with their names marked. */
export function Mentioned({ message }: { message: LivingMessage }) {
  const nameOf = useNameOf()
  const { content, mentioned } = message
  const names = useMemo(() => mentioned.flatMap((id) => nameOf(id) ?? []), [mentioned, nameOf])
  return <Content text={content} mentioned={names} />
}
