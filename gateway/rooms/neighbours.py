"""The other gateways that have members of a room, and when to repeat batches that may be lost between them. Pure.

A room that only this gateway hosts publishes no cursors and no typing.
"""

from collections import Counter
from collections.abc import Iterable, KeysView
from typing import NamedTuple

from studyroom.shared.contract.ids import GatewayId, UserId

_KNOWN_AFTER_BEATS = 2
"""By then the servers of NATS know of a new subscription."""
_REPEAT_EVERY_BEATS, _REPEAT_FOR_BEATS = 5, 30
_DROPPED_FOR_BEATS = 120
_OUT_OF_ORDER_US = 2_000_000
"""A batch that is so much older than another comes from a server that was frozen, or from a clock that is wrong."""


class Neighbours:
    def __init__(self, own: GatewayId) -> None:
        self._own = own
        self._by_user: dict[UserId, frozenset[GatewayId]] = {}
        """Only users with connections on other gateways."""
        self._users = Counter[GatewayId]()

    def __len__(self) -> int:
        """How many gateways."""
        return len(self._users)

    def __contains__(self, user: UserId) -> bool:
        """Whether the user has connections on other gateways."""
        return user in self._by_user

    def place(self, user: UserId, gateways: Iterable[GatewayId]) -> bool:
        """The user's connections are on these gateways now. True when one of them is new to the room."""
        others = frozenset(gateways) - {self._own}
        is_new = not others <= self._users.keys()
        self._users.update(others)
        self.remove(user)
        if others:
            self._by_user[user] = others
        return is_new

    def remove(self, user: UserId) -> None:
        for gateway in self._by_user.pop(user, ()):
            self._users[gateway] -= 1
            if not self._users[gateway]:
                del self._users[gateway]


class Due(NamedTuple):
    """What to do in this beat."""

    send_all: bool
    """Send the other gateways the cursors of all own members."""
    repeat_own: bool
    """Send them the cursors of own members that moved lately."""
    ask: bool
    """Ask them for the cursors of their members."""


class LostBatches:
    """Decides when cursors are sent again, since a batch can be lost, or come late, with no sign. Beats are seconds.

    Cursors are repeated for a while after the last move. Other gateways are asked for theirs when some may have been
    lost, or when those that came instead may be old.
    """

    def __init__(self) -> None:
        self._send_all_in = self._ask_in = 0
        """Beats until then; 0 for not at all."""
        self._repeats_left = self._asks_left = 0
        """Beats for which cursors are still repeated, and asked for."""
        self._dropped: dict[UserId, int] = {}
        """Beats for which to remember that cursors of this user were dropped."""
        self._newest_ingress_us = 0

    def exchange_soon(self) -> None:
        """Send all cursors and ask for those of the others, soon and then for a while."""
        self._send_all_in = self._ask_in = _KNOWN_AFTER_BEATS
        self._repeats_left = self._asks_left = _REPEAT_FOR_BEATS

    def ask_soon(self) -> None:
        """Cursors of the others may be old: ask, and again in case that is lost."""
        self._ask_in = self._ask_in or _KNOWN_AFTER_BEATS
        self._asks_left = max(self._asks_left, 2 * _REPEAT_EVERY_BEATS)

    def answer_soon(self) -> None:
        """Another gateway asks. Several that ask at once get one answer."""
        self._send_all_in = self._send_all_in or 1

    def moved(self) -> None:
        """Own members have moved."""
        self._repeats_left = _REPEAT_FOR_BEATS

    def dropped(self, user: UserId) -> None:
        """The cursor of a user who is not in the roster yet was dropped."""
        self._dropped[user] = _DROPPED_FOR_BEATS

    def received(self, ingress_us: int) -> None:
        """A batch of this time (Unix microseconds) came."""
        if ingress_us > self._newest_ingress_us:
            self._newest_ingress_us = ingress_us
        elif ingress_us < self._newest_ingress_us - _OUT_OF_ORDER_US and not self._asks_left:
            self.ask_soon()

    def beat(self, members: KeysView[UserId]) -> Due:
        """`members`: the users in the roster now."""
        send_all = self._send_all_in == 1
        self._send_all_in = max(0, self._send_all_in - 1)
        self._repeats_left, repeat_own = _count_down(self._repeats_left)
        ask = self._ask_in == 1
        self._ask_in = max(0, self._ask_in - 1)
        self._asks_left, ask_again = _count_down(self._asks_left)
        if ask_again:
            self._ask_in = self._ask_in or 1
        if self._dropped:
            if not members.isdisjoint(self._dropped):
                self.ask_soon()
            self._dropped = {
                user: beats - 1 for user, beats in self._dropped.items() if beats > 1 and user not in members
            }
        return Due(send_all, repeat_own, ask)


def _count_down(beats: int) -> tuple[int, bool]:
    """The beats that are left, and whether to repeat in this one."""
    return (beats - 1, (beats - 1) % _REPEAT_EVERY_BEATS == 0) if beats else (0, False)
