"""Which nats-server is new enough."""

import re

MINIMUM_SERVER = (2, 11)
"""The first nats-server with what we need: TTLs of messages, markers of deleted keys, and batches of last messages."""
NEEDED = f"{'.'.join(map(str, MINIMUM_SERVER))} or newer is needed"


def is_too_old(version: str) -> bool:
    """`version`: of a nats-server, such as `2.11.3` or `2.12.0-RC.1`; what cannot be read is taken for new enough."""
    numbers = re.match(r"v?(\d+)\.(\d+)", version)
    return numbers is not None and tuple(map(int, numbers.groups())) < MINIMUM_SERVER
