import { memory } from "./memory"

export type Theme = "light" | "dark"

const prefersDark = matchMedia("(prefers-color-scheme: dark)")

/** What was chosen, or what the system prefers. */
export function theme(): Theme {
  const chosen = memory.theme.get()
  if (chosen === "light" || chosen === "dark") return chosen
  return prefersDark.matches ? "dark" : "light"
}

export function toggleTheme(): Theme {
  const next = theme() === "dark" ? "light" : "dark"
  // Who wants what the system wants has no wish of their own, and follows it again.
  memory.theme.set((next === "dark") === prefersDark.matches ? null : next)
  applyTheme()
  return next
}

export function applyTheme(): void {
  document.documentElement.setAttribute("data-theme", theme())
}

/** `listener` is called when the system changes its mind. */
export function onThemeChange(listener: () => void): () => void {
  const changed = () => {
    applyTheme()
    listener()
  }
  prefersDark.addEventListener("change", changed)
  return () => prefersDark.removeEventListener("change", changed)
}
