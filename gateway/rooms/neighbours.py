"""Which other gateways have members of a room: a room that has none has nobody to tell over the bus. Pure."""

from collections import Counter
from collections.abc import Iterable

from studyroom.shared.contract.ids import GatewayId, UserId


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
