import { StrictMode } from "react"
import { createRoot } from "react-dom/client"
import { App } from "./App"
import "./styles/base.css"
import "./styles/room.css"
import "./styles/chat.css"
import "./styles/living.css"
import "./styles/desk.css"
import { ready } from "./texts"
import { applyTheme } from "./theme"

applyTheme()
await ready()
createRoot(document.getElementById("root") as HTMLElement).render(
  <StrictMode>
    <App />
  </StrictMode>,
)
