"""Code and maths in messages on the page: shown as such, loaded only when needed, and never markup."""

from playwright.async_api import expect

from tests.support.browser import Person, Visitors, with_chromium
from tests.support.layout import needs_axe, violations
from tests.support.processes import EmbeddedStack

pytestmark = with_chromium

LOADED = """() => performance.getEntriesByType("resource").filter(({ name }) => /tex-|temml/.test(name)).length"""


@needs_axe
async def test_code_keeps_its_lines_and_maths_is_drawn_and_loaded_only_when_somebody_writes_some(
    pair: tuple[Person, Person],
):
    ada, grace = pair
    await ada.send_chat("Try `x < 1`:\n```python\nif x < 1:\n    stop()\n```\nThat costs $5 and $10.")
    await expect(grace.messages.last.locator("code").first).to_have_text("x < 1")
    assert await grace.messages.last.locator("pre").inner_text() == "if x < 1:\n    stop()"
    await expect(grace.messages.last).to_contain_text("That costs $5 and $10.")
    assert await grace.page.evaluate(LOADED) == 0

    await ada.send_chat("So $x^2 + y^2 = z^2$, and\n$$\\sum_{k=1}^{n} k = \\frac{n(n+1)}{2}$$")
    for person in pair:
        await expect(person.messages.last.locator("math")).to_have_count(2)
        await expect(person.messages.last.locator("mfrac")).to_be_visible()
        assert await person.page.evaluate(LOADED) > 0
    await expect(grace.messages.last).to_be_in_viewport(ratio=1)
    assert await violations(grace.page) == []


async def test_code_and_maths_are_never_markup_and_a_mistake_in_maths_shows_its_source(
    visitors: Visitors, stack: EmbeddedStack, room: str
):
    ada = await visitors.enter(stack.gateways[0], room, "Ada")
    attempts = [
        "`<img src=x onerror=alert(1)>` ```<script>alert(2)</script>```",
        "$\\href{javascript:alert(3)}{x}$ $\\frac{1$ $\\unknown$",
        "$$\\label{root} x = 1 \\tag{7} \\ref{root}$$",
        "$\\text{<img src=x onerror=alert(4)>}$ $\\htmlId{root}{x}$ $\\includegraphics{https://a.example/}$",
        "$\\def\\a{\\a\\a}\\a$",
    ]
    for text in attempts:
        await ada.send_chat(text)
    await ada.send_chat("then $1+1$")
    await expect(ada.messages).to_have_count(len(attempts) + 1)
    await expect(ada.messages.last.locator("math")).to_be_visible()

    await expect(ada.messages.nth(0).locator("code")).to_have_text(
        ["<img src=x onerror=alert(1)>", "<script>alert(2)</script>"]
    )
    await expect(ada.messages.nth(1)).to_contain_text("$\\frac{1$")
    await expect(ada.messages.nth(4)).to_contain_text("$\\def\\a{\\a\\a}\\a$")
    await expect(ada.page.locator("#root :is(img, script), .log :is([id], [href], [onerror])")).to_have_count(0)
