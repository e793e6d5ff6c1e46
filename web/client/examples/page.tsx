import { StudyroomClient } from "@studyroom/client"
import {
  StudyroomProvider,
  useChat,
  useCursors,
  useOthers,
  useRoom,
  useTyping,
} from "@studyroom/client/react"
import { createRoot } from "react-dom/client"

const client = new StudyroomClient({ url: "/ws", username: "Guest" })
const roomId = "550e8400-e29b-41d4-a716-446655440000"
client.join(roomId)
client.connect()

function Room() {
  const [others, cursors, typing, chat] = [useOthers(), useCursors(), useTyping(), useChat()]
  return (
    <main onPointerMove={(event) => client.moveCursor(event.clientX, event.clientY)}>
      <h1>{useRoom(roomId).status === "joined" ? `${others.length + 1} in the room` : "Connecting…"}</h1>
      {chat.messages.map(({ id, username, content, state }) => (
        <p key={id}>{`${username}: ${content} ${state === "sent" ? "" : `(${state})`}`}</p>
      ))}
      <form action={(form) => void chat.send(String(form.get("text")))}>
        <input name="text" pattern=".*\S.*" required onInput={() => client.setTyping(true)} />
        {typing.map(({ username }) => `${username} is typing… `)}
      </form>
      {[...cursors].map(([id, { x, y }]) => (
        <b key={id} style={{ position: "fixed", left: x, top: y, border: "4px solid" }} />
      ))}
    </main>
  )
}

createRoot(document.body.appendChild(document.createElement("div"))).render(
  <StudyroomProvider client={client}>
    <Room />
  </StudyroomProvider>,
)
