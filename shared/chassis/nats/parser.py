"""nats-py's parser with a short way for messages that have come whole and for plain headers, as almost all are."""

import re
from typing import Any

from nats.protocol.parser import AWAITING_CONTROL_LINE, Parser

_MESSAGE, _WITH_HEADERS = b"MSG ", b"HMSG "
_LINE_END = b"\r\n"
_FIELDS_MAX = {_MESSAGE: 4, _WITH_HEADERS: 5}
"""The fields after the name of an operation. The third one is the subject for an answer, which may be missing."""

_PLAIN_HEADERS = re.compile(rb"(?:[!-9;-~]+: [!-~]+\r\n)*\r\n")
"""Headers as servers write them: of printable ASCII, without white space in names and values."""


class MessageParser(Parser):
    """nats-py's parser tries regular expressions one after another, and moves its whole buffer for each message.

    This one leaves everything to it that is not a whole message: other operations, messages that have come in part, and
    damaged ones.
    """

    def reset(self) -> None:
        super().reset()
        self._connection = object()

    async def parse(self, data: bytes = b"") -> None:
        if self.state != AWAITING_CONTROL_LINE:  # the end of a message has to come
            missing = self.needed + len(_LINE_END) - len(self.buf)
            await super().parse(data[:missing])
            data = data[missing:]
        data, at, connection = bytes(self.buf) + data, 0, self._connection
        self.buf.clear()
        while self._connection is connection and (found := _whole_message(data, at)) is not None:
            at, sid, subject, reply, payload, headers = found
            await self.nc._process_msg(sid, subject, reply, payload, headers)  # noqa: SLF001 - as nats-py's parser does
        if at < len(data) and self._connection is connection:
            await super().parse(data[at:])


def _whole_message(data: bytes, at: int) -> tuple[int, int, bytes, bytes, bytes, bytes | None] | None:
    """Return the end of a message that begins at `at`, its subscription, subject, subject for answers, payload and
    headers; None if there is no whole message."""
    has_headers = data.startswith(_WITH_HEADERS, at)
    name = _WITH_HEADERS if has_headers else _MESSAGE
    if not has_headers and not data.startswith(_MESSAGE, at):
        return None
    line_end = data.find(_LINE_END, at)
    fields: list[Any] = data[at + len(name) : line_end].split(b" ")
    most = _FIELDS_MAX[name]
    if line_end < 0 or not most - 1 <= len(fields) <= most or not all(fields):
        return None
    size, start = fields[-1], line_end + len(_LINE_END)
    head = fields[-2] if has_headers else b"0"
    if not (size.isdigit() and head.isdigit() and fields[1].isdigit()):
        return None
    end, body = start + int(size), start + int(head)
    if data[end : end + len(_LINE_END)] != _LINE_END or body > end:
        return None
    reply = fields[2] if len(fields) == most else b""
    headers = data[start:body] if has_headers else None
    return end + len(_LINE_END), int(fields[1]), fields[0], reply, data[body:end], headers


def parse_headers(raw: bytes) -> dict[str, str]:
    """The same as nats-py's, which looks at every character of a name with Python."""
    if _PLAIN_HEADERS.fullmatch(raw):
        return dict([line.split(": ", 1) for line in raw.decode("ascii").split("\r\n")[:-2]])
    headers: dict[str, str] = {}
    for name, colon, value in (line.partition(b":") for line in raw.split(b"\r\n")):
        key = name.strip().decode("latin-1")
        if colon and key.isascii() and (not key or key.split() == [key]):  # no white space within
            headers[key] = value.strip().decode("utf-8", "replace")
    return headers
