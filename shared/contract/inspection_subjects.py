"""The NATS subjects of `studyroom room` and `studyroom user`. All others are in `subjects`."""

from studyroom.shared.contract.ids import RoomId, UserId
from studyroom.shared.contract.moderation import Kind
from studyroom.shared.contract.subjects import MODERATION_BUCKET, PRESENCE_BUCKET, shard_of

INSPECT_GATEWAYS = "inspect.gateways"
"""The inspector asks every gateway here (`inspection.Question`)."""
INSPECT_PRESENCE = "inspect.presence"
"""The inspector asks every presence replica here."""
INSPECT_ANSWERS = "inspect.answers.*"
"""Gateways and presence answer here and not to an inbox, so they need no right to publish to inboxes. Nobody but the
inspector may subscribe to these subjects."""


def inspect_answers(token: str) -> str:
    """Return the subject for the answers to one question. `token`: one token of a subject that nobody can guess."""
    return INSPECT_ANSWERS.replace("*", token)


def presence_keys_of_room(room: RoomId) -> str:
    """The keys of all members of a room."""
    return f"$KV.{PRESENCE_BUCKET}.{shard_of(room)}.{room}.*"


def presence_keys_of_user(user: UserId) -> str:
    """The keys of a user in all rooms."""
    return f"$KV.{PRESENCE_BUCKET}.*.*.{user}"


def bans_of_room(room: RoomId) -> str:
    """The keys of the bans of all users from a room."""
    return f"$KV.{MODERATION_BUCKET}.{Kind.BAN}.*.{room}"


def ban_of_user(user: UserId) -> str:
    """The key of the ban of a user from the whole service."""
    return f"$KV.{MODERATION_BUCKET}.{Kind.BAN}.{user}"


def bans_of_user(user: UserId) -> str:
    """The keys of the bans of a user from single rooms."""
    return f"{ban_of_user(user)}.*"
