"""The rosters that one client may conclude from its messages, and the rules that must hold for them."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Membership:
    """A membership, from one `JoinedRoom` to the next or to the end."""

    room: str
    users: set[str]
    chat: list[int] = field(default_factory=list)
    """`seq` of each chat message, in the order of arrival."""


def memberships(log: list[dict[str, Any]]) -> list[Membership]:
    """Rebuild the rosters from `JoinedRoom` and events alone. Fails on anything a client must never see."""
    found: list[Membership] = []
    for message in log:
        payload = message.get("payload", {})
        match message["type"]:
            case "JoinedRoom":
                users = [user["user_id"] for user in payload["users"]]
                assert len(users) == len(set(users)), "a user is twice in a roster"
                found.append(Membership(payload["room_id"], set(users)))
            case "UserJoined":
                user = payload["user"]["user_id"]
                assert found, "an event before JoinedRoom"
                assert user not in found[-1].users, f"{user} joined twice"
                found[-1].users.add(user)
            case "UserLeft":
                assert found, "an event before JoinedRoom"
                assert payload["user_id"] in found[-1].users, f"{payload['user_id']} left without being there"
                found[-1].users.remove(payload["user_id"])
            case "CursorUpdate" | "TypingStatus" | "Broadcast" | "PresenceChanged":
                user, kind = payload["user_id"], message["type"]
                assert found, f"a {kind} before JoinedRoom"
                assert user in found[-1].users, f"a {kind} of {user}, who is not in the roster"
            case "Chat":
                assert found, "chat before JoinedRoom"
                found[-1].chat.append(payload["seq"])
            case _:
                pass
    return found


def check_chat_order(membership: Membership, history: list[int]) -> None:
    """A member's chat is a gapless piece of the room's history, in its order.

    `history`: `seq` of every message of the room.
    """
    if not membership.chat:
        return
    start = history.index(membership.chat[0])
    assert membership.chat == history[start : start + len(membership.chat)], "chat is missing, repeated or out of order"
