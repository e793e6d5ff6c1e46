"""Custom presence: the fields that a member shows to the others in its room. Merges and differences are pure."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic_core import to_json

from studyroom.shared.contract.broadcasts import Json
from studyroom.shared.contract.ids import UserIdField
from studyroom.shared.contract.parts import Part

FIELD_NAME_MAX_CHARS = 64
Fields = Mapping[str, Any]
"""The fields by name. None of their values is null."""
FieldsChange = Mapping[str, Any]
"""The fields that change, by name, with their values. Null deletes a field."""


class UpdatePresencePayload(Part):
    fields: dict[Annotated[str, Field(min_length=1, max_length=FIELD_NAME_MAX_CHARS)], Json]
    """The fields that change. Null deletes a field, and all others stay."""


class PresenceChangedPayload(Part):
    user_id: UserIdField
    fields: dict[str, Any]
    """The fields that have changed, with null for those that were deleted."""


class UpdatePresence(Part):
    """Changes fields of the user's presence in the room."""

    type: Literal["UpdatePresence"] = "UpdatePresence"
    payload: UpdatePresencePayload


class PresenceChanged(Part):
    """Fields of a member's presence have changed. The user's own connections get it too."""

    type: Literal["PresenceChanged"] = "PresenceChanged"
    payload: PresenceChangedPayload


def merged(fields: Fields, change: FieldsChange) -> dict[str, Any]:
    """Return the fields after a change."""
    return {name: value for name, value in {**fields, **change}.items() if value is not None}


def difference(before: Fields, after: Fields) -> dict[str, Any]:
    """Return the change that makes `after` of `before`."""
    changed = {name: value for name, value in after.items() if name not in before or not _same(before[name], value)}
    return changed | {name: None for name in before if name not in after}


def _same(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same. Python takes 1 and true for equal."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def fields_bytes(fields: Fields) -> int:
    """Return the length of the fields as compact JSON."""
    return len(to_json(fields))
