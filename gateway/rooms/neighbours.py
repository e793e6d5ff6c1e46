"""The other gateways that have members of a room, and when to repeat batches that may be lost between them. Pure.

A room that only this gateway hosts publishes no cursors and no typing.
"""

from collections import Counter
from collections.abc import Iterable, KeysView
from typing import NamedTuple

from studyroom.shared.contract.ids import GatewayId, UserId

_KNOWN_AFTER_BEATS = 2
"""After this time all NATS servers know of a new subscription."""
_REPEAT_EVERY_BEATS, _REPEAT_FOR_BEATS = 5, 30
_DROPPED_FOR_BEATS = 120
_OUT_OF_ORDER_US = 2_000_000
"""A batch that is this much older than another comes from a frozen server, or from a gateway with a wrong clock."""


class Neighbours:
    def __init__(self, own: GatewayId) -> None:
        self._own = own
        self._by_user: dict[UserId, frozenset[GatewayId]] = {}
        """Only users with connections on other gateways."""
        self._users = Counter[GatewayId]()

    def __len__(self) -> int:
        """How many gateways."""
        return len(self._users)

    @property
    def own_is_first(self) -> bool:
        """Whether this gateway has the lowest id of those with members, which lets one of them count the room."""
        return all(self._own < other for other in self._users)

    def __contains__(self, user: object) -> bool:
        """Whether the user has connections on other gateways."""
        return user in self._by_user

    def locate(self, user: UserId, gateways: Iterable[GatewayId]) -> bool:
        """Record the gateways that the user is connected to. True if one of the others is new to the room."""
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


class Actions(NamedTuple):
    """The actions that are due in a beat."""

    send_all: bool
    """Send the cursors of all local members to the other gateways."""
    repeat_moved: bool
    """Send them the cursors of local members that moved lately."""
    request: bool
    """Request the cursors of their members."""


class ExchangeSchedule:
    """Decides when gateways exchange cursors again, because batches can be lost or late silently. Pure.

    A beat is a second. A gateway repeats cursors for a while after the last move. It requests those of the others when
    batches may have been lost, or when the batches that came instead may be old.
    """

    def __init__(self) -> None:
        self._send_all_in = self._request_in = 0
        """Beats until then; 0 for not at all."""
        self._repeats_left = self._requests_left = 0
        """For how many beats cursors are still repeated and requested."""
        self._dropped: dict[UserId, int] = {}
        """For how many beats to remember that cursors of a user were dropped."""
        self._newest_ingress_us = 0

    def exchange_soon(self) -> None:
        """Send all cursors and request those of the others, soon and then for a while."""
        self._send_all_in = self._request_in = _KNOWN_AFTER_BEATS
        self._repeats_left = self._requests_left = _REPEAT_FOR_BEATS

    def request_soon(self) -> None:
        """Cursors of the others may be old: request them, and again in case that is lost."""
        self._request_in = self._request_in or _KNOWN_AFTER_BEATS
        self._requests_left = max(self._requests_left, 2 * _REPEAT_EVERY_BEATS)

    def answer_soon(self) -> None:
        """Another gateway requests cursors. Several requests within a beat get one answer."""
        self._send_all_in = self._send_all_in or 1

    def moved(self) -> None:
        """Local members have moved."""
        self._repeats_left = _REPEAT_FOR_BEATS

    def dropped(self, user: UserId) -> None:
        """A cursor was dropped because its user is not in the roster yet."""
        self._dropped[user] = _DROPPED_FOR_BEATS

    def received(self, ingress_us: int) -> None:
        """A batch with this ingress time (Unix microseconds) came."""
        if ingress_us > self._newest_ingress_us:
            self._newest_ingress_us = ingress_us
        elif ingress_us < self._newest_ingress_us - _OUT_OF_ORDER_US and not self._requests_left:
            self.request_soon()

    def beat(self, members: KeysView[UserId]) -> Actions:
        """`members`: the users in the roster now."""
        send_all = self._send_all_in == 1
        self._send_all_in = max(0, self._send_all_in - 1)
        self._repeats_left, repeat_moved = _count_down(self._repeats_left)
        request = self._request_in == 1
        self._request_in = max(0, self._request_in - 1)
        self._requests_left, request_again = _count_down(self._requests_left)
        if request_again:
            self._request_in = self._request_in or 1
        if self._dropped:
            if not members.isdisjoint(self._dropped):
                self.request_soon()
            self._dropped = {
                user: beats - 1 for user, beats in self._dropped.items() if beats > 1 and user not in members
            }
        return Actions(send_all, repeat_moved, request)


def _count_down(beats: int) -> tuple[int, bool]:
    """The beats that are left, and whether to repeat in this beat."""
    return (beats - 1, (beats - 1) % _REPEAT_EVERY_BEATS == 0) if beats else (0, False)
