"""Checks an update that gateways have not checked, because it is long. Pure."""

from studyroom.shared.contract.lib0 import Malformed
from studyroom.shared.contract.yjs_updates import check_readable


def readable(update: bytes) -> bytes:
    """Return something if Yjs can read an update, and otherwise nothing."""
    try:
        check_readable(update)
    except Malformed:
        return b""
    return b"yes"
