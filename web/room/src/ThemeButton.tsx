import { useEffect, useState } from "react"
import { Moon, Sun } from "./icons"
import { onThemeChange, theme, toggleTheme } from "./theme"

export function ThemeButton() {
  const [shown, setShown] = useState(theme)
  useEffect(() => onThemeChange(() => setShown(theme())), [])
  const other = shown === "dark" ? "light" : "dark"
  return (
    <button
      type="button"
      className="icon theme"
      aria-label={`Use ${other} colours`}
      title={`Use ${other} colours`}
      onClick={() => setShown(toggleTheme())}
    >
      {shown === "dark" ? <Sun /> : <Moon />}
    </button>
  )
}
