"""The faults that people see on a page: covered, cut or overlapping parts. And those that axe finds."""

from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, ViewportSize

_AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"

needs_axe = pytest.mark.skipif(not _AXE.exists(), reason="axe-core is not installed: npm ci in web/")

SIZES: list[ViewportSize] = [
    {"width": width, "height": height}
    for width, height in (
        (320, 568), (390, 844), (568, 320), (667, 375), (844, 390), (768, 1024), (1100, 700), (1440, 900)
    )
]  # fmt: skip

_FAULTS = """() => {
  const faults = []
  const name = (part) => `${part.localName} "${(part.ariaLabel || part.innerText || part.value || "").slice(0, 40)}"`
  const isShown = (part) => {
    const { visibility, clipPath } = getComputedStyle(part)
    const { width, height } = part.getBoundingClientRect()
    return visibility !== "hidden" && clipPath === "none" && width > 1 && height > 1
  }
  const parts = [...document.querySelectorAll(
    ":is(header, main, aside) :is(h1, h2, output, button, input, textarea, .outcome), " +
    ".board, .log, .people ul",
  )].filter(isShown)
  // The boxes of its text for text, else its own box.
  const boxes = (part) => {
    if (!part.matches("h1, h2, output, .outcome")) return [part.getBoundingClientRect()]
    const range = document.createRange()
    range.selectNodeContents(part)
    const own = part.getBoundingClientRect()
    const cut = getComputedStyle(part).overflow === "hidden"
    return [...range.getClientRects()].map((box) =>
      cut ? new DOMRect(box.x, box.y, Math.min(box.right, own.right) - box.x, box.height) : box)
  }
  for (const part of parts) {
    // Parts of a list that scrolls may be out of sight.
    if (part.closest(".log, .people ul") && !part.matches(".log, .people ul")) continue
    for (const box of boxes(part)) {
      const { left, top, right, bottom } = box
      if (left < -1 || top < -1 || right > innerWidth + 1 || bottom > innerHeight + 1)
        faults.push(`${name(part)} is outside of the window`)
      const at = document.elementFromPoint((left + right) / 2, (top + bottom) / 2)
      const covered = at && at !== part && !part.contains(at) && !at.contains(part)
      if (covered) faults.push(`${name(part)} is covered by ${name(at)}`)
      for (const other of parts) {
        if (other === part || other.contains(part) || part.contains(other)) continue
        if (other.closest(".log, .people ul") && !other.matches(".log, .people ul")) continue
        for (const second of boxes(other)) {
          const across = Math.min(right, second.right) - Math.max(left, second.left)
          const down = Math.min(bottom, second.bottom) - Math.max(top, second.top)
          if (across > 1 && down > 1) faults.push(`${name(part)} overlaps ${name(other)}`)
        }
      }
    }
    const places = part.matches("[data-place]")
    if (places && (part.scrollHeight > part.clientHeight + 1 || part.scrollWidth > part.clientWidth + 1))
      faults.push(`the text of ${name(part)} is cut`)
  }
  if (document.documentElement.scrollWidth > innerWidth) faults.push("the page is wider than the window")
  if (document.documentElement.scrollHeight > innerHeight) faults.push("the page is higher than the window")
  return [...new Set(faults)]
}"""


async def layout_faults(page: Page) -> list[str]:
    """Parts that are outside of the window, covered, cut, or on top of each other."""
    faults: list[str] = await page.evaluate(_FAULTS)
    return faults


async def looks_right(page: Page, state: str) -> None:
    """In every size of the window. `state`: what the page shows now."""
    found: dict[str, list[str]] = {}
    for size in SIZES:
        await page.set_viewport_size(size)
        if faults := await layout_faults(page):
            found[f"{state} at {size['width']} x {size['height']}"] = faults
    assert found == {}, found


async def violations(page: Page) -> list[str]:
    """The problems that axe finds, each with its element, once nothing moves or fades."""
    await page.evaluate("Promise.allSettled(document.getAnimations().map(({ finished }) => finished))")
    await page.evaluate(_AXE.read_text())
    found: dict[str, Any] = await page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{violation['id']}: {node['html']} {node.get('failureSummary', '')}"
        for violation in found["violations"]
        for node in violation["nodes"]
    ]
