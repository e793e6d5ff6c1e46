"""The oldest version of nats-server that works."""

import re

MINIMUM_SERVER = (2, 11)
"""The first nats-server with TTLs of messages, markers of deleted keys, and batches of last messages."""
NEEDED = f"{'.'.join(map(str, MINIMUM_SERVER))} or newer is needed"


def is_too_old(version: str) -> bool:
    """Return whether a version such as `2.11.3` or `2.12.0-RC.1` is too old. An unreadable one counts as new enough."""
    numbers = re.match(r"v?(\d+)\.(\d+)", version)
    return numbers is not None and tuple(map(int, numbers.groups())) < MINIMUM_SERVER
