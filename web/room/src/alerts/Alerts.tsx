import { useStudyroomEvent } from "@studyroom/client/react"
import { face } from "../face"
import { notify } from "./notifications"
import { play } from "./sound"

/** Draws the user's attention to messages of others while the tab is hidden. */
export function Alerts() {
  useStudyroomEvent("chat", ({ message, live }) => {
    if (!live || message.own || document.visibilityState === "visible") return
    play("message")
    notify(face(message.username).name, message.content, message.id)
  })
  return null
}
