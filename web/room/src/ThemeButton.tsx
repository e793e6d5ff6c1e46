import { useEffect, useState } from "react"
import { Moon, Sun } from "./icons"
import { useTexts } from "./texts"
import { onThemeChange, theme, toggleTheme } from "./theme"

export function ThemeButton() {
  const t = useTexts()
  const [shown, setShown] = useState(theme)
  useEffect(() => onThemeChange(() => setShown(theme())), [])
  const label = shown === "dark" ? t.lightColours : t.darkColours
  return (
    <button
      type="button"
      className="icon theme"
      aria-label={label}
      title={label}
      onClick={() => setShown(toggleTheme())}
    >
      {shown === "dark" ? <Sun /> : <Moon />}
    </button>
  )
}
