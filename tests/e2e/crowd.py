"""Pictures of the page in a room of thirty people, on a phone, a laptop and a wide screen: `make crowd`."""

import asyncio
import sys
import tempfile
from pathlib import Path
from uuid import uuid4

from playwright.async_api import ViewportSize, expect

from tests.support.browser import LAPTOP, PHONE, Person, chromium, page_address
from tests.support.crowd import crowd
from tests.support.layout import layout_faults
from tests.support.processes import embedded_stack, running

SIZES: dict[str, ViewportSize] = {"phone": PHONE, "laptop": LAPTOP, "wide": {"width": 1920, "height": 1080}}


async def take(directory: Path) -> None:
    room = str(uuid4())
    with tempfile.TemporaryDirectory() as data, running(embedded_stack(Path(data), gateways=2, presence=1)) as system:
        async with crowd(system.gateways, room, 29), chromium() as browser:
            for name, size in SIZES.items():
                for scheme in ("light", "dark"):
                    context = await browser.new_context(viewport=size, color_scheme=scheme)
                    person = Person(await context.new_page())
                    await person.page.goto(page_address(system.gateways[0], room))
                    await person.enter("Ada")
                    await expect(person.people).to_have_count(30)
                    await expect(person.page.locator(".reacted")).not_to_have_count(0)
                    picture = directory / f"crowd-{name}-{scheme}.png"
                    await person.page.screenshot(path=picture, animations="disabled")
                    print(picture, await layout_faults(person.page) or "no faults")
                    await person.page.get_by_role("button", name="Leave").click()
                    await context.close()


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="crowd-"))
    asyncio.run(take(target))
