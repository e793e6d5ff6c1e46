import { memory } from "./memory"

export type Theme = "light" | "dark"

const prefersDark = matchMedia("(prefers-color-scheme: dark)")

/** The theme that the user chose, or the one that the system prefers. */
export function theme(): Theme {
  const chosen = memory.theme.get()
  if (chosen === "light" || chosen === "dark") return chosen
  return prefersDark.matches ? "dark" : "light"
}

export function toggleTheme(): Theme {
  const next = theme() === "dark" ? "light" : "dark"
  // A choice that equals the system's is not stored, so the page follows the system again.
  memory.theme.set((next === "dark") === prefersDark.matches ? null : next)
  applyTheme()
  return next
}

export function applyTheme(): void {
  document.documentElement.setAttribute("data-theme", theme())
}

/** Calls `listener` when the system's preference changes. Returns a function that ends this. */
export function onThemeChange(listener: () => void): () => void {
  const changed = () => {
    applyTheme()
    listener()
  }
  prefersDark.addEventListener("change", changed)
  return () => prefersDark.removeEventListener("change", changed)
}
