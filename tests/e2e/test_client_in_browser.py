"""`@studyroom/client` in pages of Chromium: what only a browser shows."""

import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import jwt
import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, Route, expect

from tests.support.bidi import firefox
from tests.support.browser import chromium, needs_chromium
from tests.support.processes import EmbeddedStack, ServiceProcess, running, service

WEB = Path(__file__).parents[2] / "web"
SECRET = "a secret for tests, long enough for HS256"
HOME, FOREIGN = "http://app.example", "http://evil.example"

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="module"),
    needs_chromium,
    pytest.mark.skipif(shutil.which("npm") is None, reason="needs Node and npm"),
    pytest.mark.skipif(not (WEB / "node_modules").exists(), reason="needs make web-install"),
]


def bundle(entry: str, into: Path) -> str:
    """The script of a page, made from a file of the client."""
    script = into / "page.js"
    esbuild = [str(WEB / "node_modules/.bin/esbuild"), str(WEB / "client" / entry), f"--outfile={script}"]
    options = ["--bundle", "--jsx=automatic", "--log-level=error", f"--alias:@studyroom/client={WEB / 'client/src'}"]
    if not entry.endswith("x"):
        options += ["--format=iife", "--global-name=studyroom"]
    subprocess.run([*esbuild, *options], check=True, timeout=60)
    return script.read_text("utf-8")


@pytest.fixture(scope="module")
def client_script(tmp_path_factory: pytest.TempPathFactory) -> str:
    return bundle("src/index.ts", tmp_path_factory.mktemp("client"))


@pytest.fixture(scope="module")
def example_script(tmp_path_factory: pytest.TempPathFactory) -> str:
    return bundle("examples/page.tsx", tmp_path_factory.mktemp("example"))


@pytest.fixture(scope="module")
def gateway(stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A gateway for the pages of one other origin, where users need tokens."""
    one = service(
        "gateway",
        tmp_path_factory.mktemp("of pages"),
        stack.nats_url,
        STUDYROOM_GATEWAY_JWT_SECRET=SECRET,
        STUDYROOM_GATEWAY_ORIGINS=HOME,
    )
    one.environment["STUDYROOM_GATEWAY_GUESTS"] = "false"
    with running(one):
        yield one


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    # Pages of public sites would have to ask people before they may talk to this machine.
    async with chromium("--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests") as browser:
        yield browser


async def opened(context: BrowserContext, url: str, script: str) -> Page:
    """A page at `url` with this script, instead of any other answer."""

    async def answer(route: Route) -> None:
        await route.fulfill(content_type="text/html", body=f"<!doctype html><body></body><script>{script}</script>")

    page = await context.new_page()
    await page.route(url, answer)
    await page.goto(url)
    return page


def token(**claims: object) -> str:
    claims = {"sub": str(uuid4()), "exp": int(time.time()) + 60, "name": "Ann", **claims}
    return jwt.encode(claims, SECRET, algorithm="HS256")


CONNECT = """({ url, token }) => {
  window.client = new studyroom.StudyroomClient({ url, token })
  window.client.connect()
}"""
STATE = "() => window.client.connection.get()"


@pytest.mark.parametrize(
    ("origin", "credentials", "code"),
    [(FOREIGN, token, "origin_not_allowed"), (HOME, lambda: "nonsense", "unauthorized")],
)
async def test_a_page_learns_why_its_handshake_is_refused(
    browser: Browser, gateway: ServiceProcess, client_script: str, origin: str, credentials: object, code: str
):
    assert callable(credentials)
    async with await browser.new_context() as context:
        page = await opened(context, f"{origin}/", client_script)
        await page.evaluate(CONNECT, {"url": gateway.url, "token": credentials()})
        await page.wait_for_function("() => window.client.connection.get().status === 'closed'")
        assert (await page.evaluate(STATE))["cause"]["code"] == code


@pytest.mark.skipif(FIREFOX is None, reason="no Firefox: apt-get install firefox-esr")
async def test_a_page_in_firefox_learns_it_too(gateway: ServiceProcess, client_script: str, tmp_path: Path):
    assert FIREFOX is not None
    site = gateway.url.replace("ws://", "http://").removesuffix("/ws")
    async with firefox(FIREFOX, tmp_path) as browser:
        page = await browser.tab(f"{site}/api/v1/ping")
        connect = f"({CONNECT})({{ url: '/ws', token: 'nonsense' }})"
        await page.run(f"(() => {{ {client_script}; window.studyroom = studyroom; {connect} }})()")
        await page.sees("window.client.connection.get().cause?.code", "unauthorized")
        await page.sees("window.client.connection.get().status", "closed")


async def test_a_page_of_another_site_reads_earlier_messages_and_rosters(
    browser: Browser, gateway: ServiceProcess, client_script: str
):
    async with await browser.new_context() as context:
        page = await opened(context, f"{HOME}/", client_script)
        await page.evaluate(CONNECT, {"url": gateway.url, "token": token()})
        seen = await page.evaluate(
            """async (room) => {
              const { client } = window
              await client.join(room)
              await client.sendChat("Hello")
              const members = await client.getRoster(room)
              return [members.map(({ username }) => username), client.hasMore.get()]
            }""",
            str(uuid4()),
        )
        assert seen == [["Ann"], False]


async def test_a_reload_of_the_example_in_the_readme_makes_no_ghost(
    browser: Browser, stack: EmbeddedStack, example_script: str
):
    site = stack.gateways[0].replace("ws://", "http://").removesuffix("/ws")
    async with await browser.new_context() as ann, await browser.new_context() as bob:
        first = await opened(ann, f"{site}/example", example_script)
        second = await opened(bob, f"{site}/example", example_script)
        await expect(second.locator("h1")).to_have_text("2 in the room")
        await second.evaluate(
            """() => {
              window.headings = []
              const heading = document.querySelector("h1")
              new MutationObserver(() => window.headings.push(heading.textContent))
                .observe(heading, { childList: true, characterData: true, subtree: true })
            }"""
        )
        await first.reload()
        await expect(first.locator("h1")).to_have_text("2 in the room")
        await first.locator("input").fill("back again")
        await first.locator("input").press("Enter")
        await expect(second.locator("p").last).to_contain_text("back again")
        assert await second.evaluate("() => window.headings") == []
