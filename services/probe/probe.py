"""One pass of the probe: two users meet in a room, the first writes, the second reads it, and both leave."""

import asyncio
import contextlib
import random
import ssl
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import cycle
from uuid import UUID, uuid5

from studyroom.client import ChatMessage, Client, ConnectionStatus, StudyroomError
from studyroom.client.address import socket_address
from studyroom.services.probe.certificate import expiry
from studyroom.services.probe.tokens import TokenOf

ROOMS = tuple(str(uuid5(UUID("5a8a1fd4-1d0c-4b7e-9a36-7c2f6f0f5c11"), str(number))) for number in range(8))
"""The rooms of the probe. Passes take them in turn, so they meet several gateways, shards and streams.

Their number bounds the chat that probes leave, because each room has a limit of messages.
"""
TEXT = "The probe tries whether chat works."
WRITER, READER = "writer", "reader"
_LEFT_OVER_SECONDS = 60.0
"""A message of this age belongs to a pass that was cut short."""


class Step(StrEnum):
    CONNECT = "connect"
    """Both connections are open."""
    JOIN = "join"
    """Both users are in the room, and the reader sees the writer."""
    STORE = "store"
    """The message of the writer is stored."""
    RECEIVE = "receive"
    """The reader has the message. Its time counts from the same moment as that of `store`."""
    DELETE = "delete"
    """The message is deleted, and gone for the reader. Only where members may delete their messages."""
    LEAVE = "leave"
    """The writer has left, and the reader sees that."""


@dataclass
class Pass:
    """The outcome of a pass: the seconds of each step that has succeeded, and the step that has not."""

    room: str
    seconds: dict[Step, float] = field(default_factory=dict)
    failed: Step | None = None
    reason: str = ""

    @property
    def succeeded(self) -> bool:
        return self.failed is None

    @contextlib.contextmanager
    def step(self, step: Step, began: float | None = None) -> Iterator[float]:
        """Measure a step, and record it as the failed one if it raises. `began`: its start, if that was before."""
        start = time.perf_counter() if began is None else began
        try:
            yield start
        except BaseException:
            self.failed = step
            raise
        self.seconds[step] = time.perf_counter() - start


class Probe:
    def __init__(
        self,
        url: str,
        *,
        token_of: TokenOf,
        deadline_seconds: float,
        tls: ssl.SSLContext | None = None,
        rooms: Sequence[str] = ROOMS,
        left_over_seconds: float = _LEFT_OVER_SECONDS,
    ) -> None:
        """`url`: such as `wss://host/ws`. `tls`: where the default context will not do.

        `left_over_seconds`: the age at which the probe deletes messages that earlier passes have left.
        """
        self._url = url
        self._token_of = token_of
        self._deadline_seconds = deadline_seconds
        self._tls = tls
        self._left_over_seconds = left_over_seconds
        self._rooms = rooms
        first = random.randrange(len(rooms))  # noqa: S311 - so that single passes do not all take the same room
        self._next_rooms = cycle([*rooms[first:], *rooms[:first]])
        self._guest_tokens: dict[str, str] = {}
        """With these, guests are the same users in all passes."""

    async def once(self) -> Pass:
        """Make one pass in the next room. Takes the deadline and some seconds at most, and leaves nobody in the room.

        Failures are in the result.
        """
        done = Pass(next(self._next_rooms))
        try:
            writer, reader = (self._client(role, done.room) for role in (WRITER, READER))
        except (OSError, UnicodeDecodeError) as error:  # the file with the token
            done.failed, done.reason = Step.CONNECT, f"no token: {error}"
            return done
        async with writer, reader:
            try:
                async with asyncio.timeout(self._deadline_seconds):
                    await self._meet(writer, reader, done)
            except StudyroomError as error:
                done.reason = str(error)
            except TimeoutError:
                done.reason = "; ".join([f"not within {self._deadline_seconds:g} s", *_failures(writer, reader)])
        for role, client in ((WRITER, writer), (READER, reader)):
            if client.guest_token:
                self._guest_tokens[role] = client.guest_token
        return done

    async def certificate_expires(self) -> float | None:
        """Return when the certificate of the address expires, in Unix seconds, if there is a valid one."""
        return await expiry(self._url, self._tls)

    def _client(self, role: str, room: str) -> Client:
        """Raises OSError and UnicodeDecodeError if the token cannot be read."""
        return Client(
            socket_address(self._url, {"room": room}),  # The load balancer may choose the gateway by it.
            token=self._token_of(role, self._rooms),
            username=f"Probe ({role})",
            guest_token=self._guest_tokens.get(role),
            tls=self._tls,
        )

    async def _meet(self, writer: Client, reader: Client, done: Pass) -> None:
        """Go through all steps. Raises StudyroomError when the server refuses one for good."""
        with done.step(Step.CONNECT):
            await reader.until(lambda: reader.state.status is ConnectionStatus.OPEN)
            await writer.until(lambda: writer.state.status is ConnectionStatus.OPEN)
        with done.step(Step.JOIN):
            await reader.join(done.room)
            await writer.join(done.room)
            # A token from a file makes both the same user, which is one member.
            await reader.until(lambda: writer.user_id == reader.user_id or _sees(reader, writer))
        with done.step(Step.STORE) as began:
            message = await writer.chat(TEXT)
        with done.step(Step.RECEIVE, began):
            await reader.until(lambda: _has(reader, message))
        if writer.limits.living_chat:
            with done.step(Step.DELETE):
                await writer.delete(message)
                await reader.until(lambda: not _has(reader, message))
                await self._delete_left_over(writer)
        with done.step(Step.LEAVE):
            writer.leave()
            await reader.until(lambda: not _sees(reader, writer))

    async def _delete_left_over(self, writer: Client) -> None:
        """Delete messages of passes that were cut short. Younger ones may be of another probe with the same user."""
        oldest = time.time() - self._left_over_seconds
        for message in list(writer.messages):
            if message.own and message.timestamp is not None and message.timestamp <= oldest:
                with contextlib.suppress(StudyroomError):  # gone meanwhile, or too old for the server to delete
                    await writer.delete(message)


def _sees(reader: Client, writer: Client) -> bool:
    return any(member.user_id == writer.user_id for member in reader.members)


def _has(client: Client, message: ChatMessage) -> bool:
    return any(one.id == message.id for one in client.messages)


def _failures(*clients: Client) -> list[str]:
    """Return the failures that the clients show, each once."""
    known = [client.state.failure or client.room.failure for client in clients]
    return list(dict.fromkeys(f"{one.code}: {one.message}" for one in known if one is not None))


def as_text(done: Pass) -> str:
    """Return the outcome for people, a line for each step."""
    lines = [f"{step:<8}{seconds * 1000:10.1f} ms" for step, seconds in done.seconds.items()]
    if done.failed is not None:
        lines.append(f"{done.failed:<8} failed: {done.reason}")
    return "\n".join(lines)


def as_json(done: Pass) -> dict[str, object]:
    """Return the outcome for programs."""
    return {
        "succeeded": done.succeeded,
        "room": done.room,
        "seconds": {step.value: round(seconds, 6) for step, seconds in done.seconds.items()},
        "failed": None if done.failed is None else done.failed.value,
        "reason": done.reason or None,
    }
