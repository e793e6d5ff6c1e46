"""Firefox, driven over WebDriver BiDi: as much of it as a smoke test needs."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from studyroom.services.stack.stack import free_port
from tests.support.processes import Process
from tests.support.waiting import eventually

_QUIET = """
user_pref("app.update.enabled", false);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("toolkit.telemetry.enabled", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
"""


class Bidi:
    """One session. https://w3c.github.io/webdriver-bidi/"""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        await self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        async for text in self._socket:
            answer: dict[str, Any] = json.loads(text)
            if answer.get("id") == number:
                assert answer["type"] == "success", answer
                result: dict[str, Any] = answer["result"]
                return result
        raise AssertionError("Firefox has gone away")

    async def tab(self, address: str) -> "Tab":
        """In a user context of its own, as another person's."""
        person = (await self.call("browser.createUserContext"))["userContext"]
        context = (await self.call("browsingContext.create", type="tab", userContext=person))["context"]
        await self.call("browsingContext.navigate", context=context, url=address, wait="complete")
        return Tab(self, context)


class Tab:
    def __init__(self, bidi: Bidi, context: str) -> None:
        self._bidi = bidi
        self._context = context

    async def run(self, expression: str) -> Any:
        """The value of a JavaScript expression, as JSON has it."""
        answer = await self._bidi.call(
            "script.evaluate",
            expression=f"JSON.stringify({expression})",
            target={"context": self._context},
            awaitPromise=False,
        )
        assert answer["type"] == "success", answer["exceptionDetails"]["text"]
        return json.loads(answer["result"].get("value", "null"))

    async def sees(self, expression: str, value: Any) -> None:
        async def seen() -> bool:
            return bool(await self.run(expression) == value)

        await eventually(seen, f"{expression} is {value!r}")

    async def reload(self) -> None:
        await self._bidi.call("browsingContext.reload", context=self._context, wait="complete")

    async def type(self, text: str) -> None:
        """Press keys as on a keyboard, for the element with the focus. \\n is Enter."""
        await self._bidi.call("browsingContext.activate", context=self._context)
        keys = text.replace("\n", "\ue007")
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        await self._bidi.call(
            "input.performActions",
            context=self._context,
            actions=[{"type": "key", "id": "keyboard", "actions": actions}],
        )

    async def point(self, x: int, y: int) -> None:
        move = {"type": "pointerMove", "x": x, "y": y}
        mouse = {"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": [move]}
        await self._bidi.call("input.performActions", context=self._context, actions=[mouse])


@asynccontextmanager
async def firefox(program: str, directory: Path) -> AsyncIterator[Bidi]:
    profile = directory / "profile"
    profile.mkdir()
    (profile / "user.js").write_text(_QUIET)
    port = free_port()
    process = Process(
        "firefox",
        [program, "--headless", "--no-remote", "--profile", str(profile), f"--remote-debugging-port={port}"],
        directory / "firefox.log",
        {"HOME": str(directory)},
    )
    process.start()
    try:
        await eventually(lambda: "WebDriver BiDi listening" in process.output(), "Firefox listens", 60)
        async with connect(f"ws://127.0.0.1:{port}/session", max_size=None) as socket:
            bidi = Bidi(socket)
            await bidi.call("session.new", capabilities={})
            yield bidi
            await bidi.call("browser.close")
    finally:
        await asyncio.to_thread(process.stop)
