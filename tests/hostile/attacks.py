"""Every attack, and its answers: `python -m tests.hostile.attacks ping_flood ws://127.0.0.1:8080/ws 5`."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.hostile import floods, nonsense
from tests.hostile.stranger import Answers, Target


@dataclass(frozen=True)
class Attack:
    run: Callable[[Target, float], Awaitable[Answers]]
    gets: frozenset[str]
    """Answers that the attacker gets at least once."""
    may_get: frozenset[str] = frozenset()
    """Other answers that it may get."""


def _attack(
    run: Callable[[Target, float], Awaitable[Answers]], *gets: str, may_get: tuple[str, ...] = ()
) -> tuple[str, Attack]:
    return run.__name__, Attack(run, frozenset(gets), frozenset(may_get))


ATTACKS = dict(
    (
        _attack(floods.message_flood, "4500"),
        _attack(floods.chat_flood, "4500"),
        _attack(floods.ping_flood, "4500"),
        _attack(floods.deaf_ping_flood, may_get=("4500", "ended")),
        _attack(floods.empty_fragments, "4500"),
        _attack(floods.endless_fragments, "1009", may_get=("ended",)),
        _attack(floods.huge_frames, "1009", "1002", may_get=("ended",)),
        _attack(floods.join_storm, "JoinedRoom", may_get=("Welcome", "rate_limited", "busy", "Chat")),
        _attack(floods.handshake_storm, "101"),
        _attack(floods.http_flood, "200"),
        _attack(floods.pipelined_requests, may_get=("404", "ended")),
        _attack(floods.empty_lines, "ended"),
        _attack(floods.half_open_requests, "ended"),
        _attack(floods.dead_connections, "4001"),
        _attack(floods.slow_readers, may_get=("4000", "ended")),
        _attack(nonsense.invalid_utf8, "1007"),
        _attack(nonsense.broken_cursors, "1007"),
        _attack(nonsense.compressed_frames, "1002"),
        _attack(nonsense.broken_frames, "1002", may_get=("ended",)),
        _attack(nonsense.binary_messages, "1003", may_get=("ended",)),
        _attack(
            nonsense.json_bombs, "invalid_json", "invalid_message", "unknown_type", may_get=("Welcome", "rate_limited")
        ),
        _attack(nonsense.header_bombs, "431", may_get=("ended",)),
        _attack(nonsense.body_bombs, "413", may_get=("ended",)),
        _attack(
            nonsense.wildcards_for_ids, "invalid_message", "unknown_type", "400", "404",
            may_get=("Welcome", "rate_limited", "200"),  # there may be a page at /
        ),
        _attack(nonsense.bad_tokens, "401", "unauthorized", "invalid_message", may_get=("Welcome", "rate_limited")),
    )
)  # fmt: skip


def main() -> None:
    name, url, seconds = sys.argv[1:]
    print(json.dumps(asyncio.run(ATTACKS[name].run(Target.of(url), float(seconds)))))  # type: ignore[arg-type] # a coroutine


if __name__ == "__main__":
    main()
