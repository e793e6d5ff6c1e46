import { StrictMode } from "react"
import { createRoot } from "react-dom/client"
import { App } from "./App"
import "./styles/base.css"
import "./styles/room.css"
import "./styles/chat.css"
import "./styles/desk.css"
import { applyTheme } from "./theme"

applyTheme()
createRoot(document.getElementById("root") as HTMLElement).render(
  <StrictMode>
    <App />
  </StrictMode>,
)
