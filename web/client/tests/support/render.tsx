import { type ReactNode, StrictMode } from "react"
import { createRoot } from "react-dom/client"
import { onTestFinished } from "vitest"

/** Renders a page in strict mode, as in development. It is unmounted at the end of the test. */
export function render(page: ReactNode): {
  text: () => string
  rerender: (page: ReactNode) => void
  unmount: () => void
} {
  const container = document.createElement("div")
  const root = createRoot(container)
  const rerender = (page: ReactNode) => root.render(<StrictMode>{page}</StrictMode>)
  rerender(page)
  onTestFinished(() => root.unmount())
  return { text: () => container.textContent ?? "", rerender, unmount: () => root.unmount() }
}
