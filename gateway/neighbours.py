"""Which other gateways have members of a room: a room that has none has nobody to tell over the bus. Pure."""

from collections.abc import Iterable

from shared.ids import GatewayId, UserId


class Neighbours:
    def __init__(self, own: GatewayId) -> None:
        self._own = own
        self._by_user: dict[UserId, frozenset[GatewayId]] = {}
        """Only users with connections on other gateways."""

    def __bool__(self) -> bool:
        return bool(self._by_user)

    def place(self, user: UserId, gateways: Iterable[GatewayId]) -> bool:
        """The user's connections are on these gateways now. True when one of them is new to the room."""
        others = frozenset(gateways) - {self._own}
        if not others:
            self._by_user.pop(user, None)
            return False
        known = others <= frozenset().union(*self._by_user.values())
        self._by_user[user] = others
        return not known

    def remove(self, user: UserId) -> None:
        self._by_user.pop(user, None)
