"""Chat messages with the edits and reactions that came since. The server folds earlier ones by the same rules."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

from studyroom.client.values import ChatMessage, Reaction
from studyroom.shared.contract.chat_messages import ChatEditedPayload, ChatPayload, ChatReactionPayload
from studyroom.shared.contract.folding import REACTIONS_MAX

_KEPT = 4096
"""The most reactions of which the position is kept."""


class NewestReactions:
    """The last reaction of each user to each message.

    The answer to a repeated reaction is a copy, which may be older than another that has come.
    """

    def __init__(self) -> None:
        self._folded_to = 0
        """The server has folded all changes up to this position."""
        self._seqs: dict[tuple[int, str, str], int] = {}

    def begin(self, position: int) -> None:
        """The messages start over, and have all changes up to this position."""
        self._folded_to = position
        self._seqs.clear()

    def is_newer(self, change: ChatReactionPayload) -> bool:
        """Return whether no newer one of this user has come, and remember this one then."""
        key = change.target_seq, change.user_id, change.reaction
        if change.seq <= max(self._folded_to, self._seqs.get(key, 0)):
            return False
        self._seqs.pop(key, None)  # so that the oldest come first
        self._seqs[key] = change.seq
        if len(self._seqs) > _KEPT:
            del self._seqs[next(iter(self._seqs))]
        return True


def message_of(chat: ChatPayload, own_ids: AbstractSet[str]) -> ChatMessage:
    """`own_ids`: the ids that the user of this client has had."""
    return ChatMessage(
        id=chat.id,
        user_id=chat.user_id,
        username=chat.username,
        content=chat.content,
        own=chat.user_id in own_ids,
        timestamp=chat.timestamp,
        seq=chat.seq,
        reply_to=chat.reply_to,
        mentions=tuple(chat.mentions or ()),
        edited_at=chat.edited_at,
        reactions=tuple(
            Reaction(one.reaction, one.count, tuple(one.user_ids), not own_ids.isdisjoint(one.user_ids))
            for one in chat.reactions or ()
        ),
    )


def edited(message: ChatMessage, edit: ChatEditedPayload) -> ChatMessage:
    """Return the message with this edit, or as it is if it has a newer one."""
    if edit.timestamp < (message.edited_at or 0):
        return message
    return replace(message, content=edit.content, mentions=tuple(edit.mentions or ()), edited_at=edit.timestamp)


def reacted(message: ChatMessage, change: ChatReactionPayload, own_ids: AbstractSet[str]) -> ChatMessage:
    """Return the message with this reaction, or without it. A user counts once for each."""
    all_of_it = list(message.reactions)
    index = next((place for place, one in enumerate(all_of_it) if one.reaction == change.reaction), None)
    if index is None:
        if change.is_on and len(all_of_it) < REACTIONS_MAX:
            all_of_it.append(Reaction(change.reaction, 1, (change.user_id,), change.user_id in own_ids))
    elif change.is_on != (change.user_id in all_of_it[index].user_ids):
        all_of_it[index : index + 1] = _counted(all_of_it[index], change, own_ids)
    return replace(message, reactions=tuple(all_of_it)) if all_of_it != list(message.reactions) else message


def _counted(before: Reaction, change: ChatReactionPayload, own_ids: AbstractSet[str]) -> Sequence[Reaction]:
    """Empty if nobody is left."""
    others = tuple(user for user in before.user_ids if user != change.user_id)
    users = (*others, change.user_id) if change.is_on else others
    count = before.count + (1 if change.is_on else -1)
    own = any(user in own_ids for user in users)
    return [Reaction(before.reaction, count, users, own)] if count > 0 else []
