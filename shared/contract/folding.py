"""Folds edits and reactions into the chat message that they change. Pure. Gateways and clients fold by the same rules.

The newest edit of the author counts. Each user counts once for each reaction, until the user takes it back. A message
has at most so many different reactions: further ones change nothing.
"""

from collections.abc import Iterable

from studyroom.shared.contract.chat import is_edit
from studyroom.shared.contract.chat_messages import Chat, ChatEdited, ChatPayload, ChatReaction, ReactionSummary
from studyroom.shared.contract.ids import UserId

REACTIONS_MAX = 20
"""How many different reactions a message has at most."""
SHOWN_USERS_MAX = 50
"""How many of the users with the same reaction a message names."""


def folded(message: bytes, changes: Iterable[bytes]) -> bytes:
    """Return a client-ready `Chat` with its client-ready edits and reactions, which are in the order of the chat."""
    payload = Chat.model_validate_json(message).payload
    reactions: dict[str, dict[UserId, None]] = {}
    for change in changes:
        if is_edit(change):
            payload = _edited(payload, ChatEdited.model_validate_json(change))
        else:
            _react(reactions, ChatReaction.model_validate_json(change))
    shown = [
        ReactionSummary.model_construct(reaction=reaction, count=len(users), user_ids=list(users)[:SHOWN_USERS_MAX])
        for reaction, users in reactions.items()
    ]
    whole = Chat.model_construct(payload=payload.model_copy(update={"reactions": shown or None}))
    return whole.__pydantic_serializer__.to_json(whole)


def _edited(payload: ChatPayload, edited: ChatEdited) -> ChatPayload:
    edit = edited.payload
    if edit.user_id != payload.user_id:
        return payload
    return payload.model_copy(update={"content": edit.content, "mentions": edit.mentions, "edited_at": edit.timestamp})


def _react(reactions: dict[str, dict[UserId, None]], message: ChatReaction) -> None:
    user, reaction = message.payload.user_id, message.payload.reaction
    if message.payload.is_on:
        if reaction in reactions or len(reactions) < REACTIONS_MAX:
            reactions.setdefault(reaction, {})[user] = None
    elif reaction in reactions:
        reactions[reaction].pop(user, None)
        if not reactions[reaction]:
            del reactions[reaction]
