"""Measures the page in a browser while 30 people move their cursors: `python -m benchmarks.page_frames`.

The whole system runs on the same machine, so visitors get at least these frame rates.
"""

import argparse
import asyncio
import gzip
import json
import math
import random
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from playwright.async_api import CDPSession, Page, expect

from studyroom.gateway.http.page import DIRECTORY
from tests.support.browser import Visitors, chromium
from tests.support.processes import embedded_stack, running

MOVES_PER_SECOND = 20
WARM_UP_SECONDS = 3
LATE_MS = 25.0
"""At 60 Hz, a frame that is so late replaces one that was dropped."""
FRAMES = """(seconds) => new Promise((done) => {
  const times = []
  const frame = (now) => {
    times.push(now)
    if (now - times[0] < seconds * 1000) requestAnimationFrame(frame)
    else done(times)
  }
  requestAnimationFrame(frame)
})"""


@dataclass
class Mover:
    """A client that moves its cursor in circles and reads nothing."""

    gateway: str
    room: str

    async def run(self) -> None:
        address = urlsplit(self.gateway)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(
            b"GET /ws?username=Mover HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        await reader.readuntil(b"\r\n\r\n")
        reading = asyncio.create_task(self._discard(reader))
        writer.write(_frame("JoinRoom", {"room_id": self.room}))
        angle, centre = random.random() * 6, (0.2 + random.random() * 0.6, 0.2 + random.random() * 0.6)
        try:
            while True:
                angle += 0.12
                x, y = centre[0] + 0.18 * math.cos(angle), centre[1] + 0.18 * math.sin(angle)
                writer.write(_frame("CursorMove", {"x": round(x, 4), "y": round(y, 4), "element_id": None}))
                await asyncio.sleep(1 / MOVES_PER_SECOND)
        finally:
            reading.cancel()
            writer.close()

    async def _discard(self, reader: asyncio.StreamReader) -> None:
        while await reader.read(1 << 16):
            pass


def _frame(message_type: str, payload: Any) -> bytes:
    """Return a text frame with the mask 0, which leaves the payload as it is."""
    text = json.dumps({"type": message_type, "payload": payload}, separators=(",", ":")).encode()
    return bytes((0x81, 0x80 | len(text), 0, 0, 0, 0)) + text if len(text) < 126 else _long(text)


def _long(text: bytes) -> bytes:
    return bytes((0x81, 0x80 | 126)) + len(text).to_bytes(2) + bytes(4) + text


async def _metrics(tools: CDPSession) -> dict[str, float]:
    answer = await tools.send("Performance.getMetrics")
    return {metric["name"]: metric["value"] for metric in answer["metrics"]}


async def _measure(page: Page, seconds: float) -> None:
    tools = await page.context.new_cdp_session(page)
    await tools.send("Performance.enable")
    before = await _metrics(tools)
    times = await page.evaluate(FRAMES, seconds)
    after = await _metrics(tools)
    intervals = [later - sooner for sooner, later in pairwise(times)]
    took = after["Timestamp"] - before["Timestamp"]

    def busy(name: str) -> float:
        return (after[name] - before[name]) * 1000 / took

    late = sum(interval > LATE_MS for interval in intervals)
    print(
        f"frames a second, median {1000 / median(intervals):.1f}, p95 {quantiles(intervals, n=20)[-1]:.1f} ms, "
        f"later than {LATE_MS:g} ms: {late} of {len(intervals)}"
    )
    print(
        f"main thread, ms a second: {busy('TaskDuration'):.0f}, of it script {busy('ScriptDuration'):.0f},"
        f" style {busy('RecalcStyleDuration'):.0f}, layout {busy('LayoutDuration'):.0f}"
    )
    print(f"heap {after['JSHeapUsedSize'] / 1e6:.1f} MB, elements {after['Nodes']:.0f}")


def _sizes() -> None:
    for file in sorted(DIRECTORY.rglob("*")):
        if file.is_file():
            body = file.read_bytes()
            print(f"{file.relative_to(DIRECTORY)}: {len(body):,} bytes, gzip {len(gzip.compress(body)):,}")


async def _run(people: int, seconds: float) -> None:
    _sizes()
    room = str(uuid4())
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        system = stack.enter_context(running(embedded_stack(Path(directory), gateways=1, presence=1)))
        browser = await stack.enter_async_context(chromium())
        person = await Visitors(browser).enter(system.gateways[0], room, "Ada")
        print("alone, nothing moves:")
        await _measure(person.page, seconds)
        movers = [asyncio.create_task(Mover(system.gateways[0], room).run()) for _ in range(people)]
        await expect(person.cursors).to_have_count(people)
        await asyncio.sleep(WARM_UP_SECONDS)
        print(f"{people} cursors move, {MOVES_PER_SECOND} updates a second each:")
        await _measure(person.page, seconds)
        for mover in movers:
            mover.cancel()
        await asyncio.gather(*movers, return_exceptions=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    asyncio.run(_run(options.people, options.seconds))


if __name__ == "__main__":
    main()
