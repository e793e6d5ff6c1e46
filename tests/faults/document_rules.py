"""The rules for shared documents at rest. Pure."""

import json
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pycrdt

from studyroom.services.documents.log import DocumentKey

_NAMED = 3
"""So many edits of a violation are named."""
_SHOWN_CHARS = 40
_TYPES: dict[str, Any] = {"text": pycrdt.Text, "edits": pycrdt.Map, "list": pycrdt.Array, "nested": pycrdt.Map}
"""The parts of a document that editors change. `edits` has the id of each edit: an edit is all or nothing."""


@dataclass
class Edit:
    """Times are monotonic seconds."""

    document: DocumentKey
    id: str
    author: str
    made: float
    acknowledged: float | None = None

    def __str__(self) -> str:
        acknowledged = f"acknowledged at {self.acknowledged:.2f} s" if self.acknowledged else "not acknowledged"
        return f"{self.id} of {self.author}, made at {self.made:.2f} s and {acknowledged}"


@dataclass(frozen=True)
class Contents:
    """The contents of a copy of a document."""

    vector: Mapping[int, int]
    """How many changes of each client of Yjs."""
    edits: frozenset[str]
    shown: str
    """Everything that a user sees, as JSON."""

    @classmethod
    def of(cls, *updates: bytes) -> "Contents":
        doc: pycrdt.Doc[Any] = pycrdt.Doc()
        if updates:
            doc.apply_update(pycrdt.merge_updates(*updates))  # one by one, it might leave changes of some behind
        text, edits, list_, nested = (doc.get(name, type=kind) for name, kind in _TYPES.items())
        parts = {"text": text.diff(), "edits": edits.to_py(), "list": list_.to_py(), "nested": nested.to_py()}
        return cls(decode_vector(doc.get_state()), frozenset(parts["edits"]), shown(parts))


def shown(parts: Mapping[str, Any]) -> str:
    """The parts as JSON. A text is a list of chunks and their formats, which Yjs and pycrdt divide differently."""
    text: list[list[Any]] = []
    for chunk, formats in parts["text"]:
        if text and text[-1][1] == formats:
            text[-1][0] += chunk
        else:
            text.append([chunk, formats])
    return json.dumps({**parts, "text": text}, sort_keys=True, ensure_ascii=False)


def decode_vector(vector: bytes) -> dict[int, int]:
    numbers, number, shift = [], 0, 0
    for byte in vector:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            numbers.append(number)
            number = shift = 0
    return dict(zip(numbers[1::2], numbers[2::2], strict=True))


def copies_differ(
    document: DocumentKey, copies: Mapping[str, Contents], edits: Mapping[str, Edit], now: float
) -> list[str]:
    """All copies of a document are the same. The first one is compared with each other one."""
    (name, first), *others = copies.items()
    return [
        f"{document.name} of {document.room} at {now:.2f} s: {_difference(name, first, other_name, other, edits)}"
        for other_name, other in others
        if other != first
    ]


def _difference(name: str, one: Contents, other_name: str, other: Contents, edits: Mapping[str, Edit]) -> str:
    lacking = [
        f"{who} lacks {_named(ids, edits)}, which {whose} has"
        for who, whose, ids in (
            (name, other_name, other.edits - one.edits),
            (other_name, name, one.edits - other.edits),
        )
        if ids
    ]
    if lacking:
        return "; ".join(lacking)
    if one.shown != other.shown:
        return f"{name} and {other_name} show something else: {_parting(one.shown, other.shown)}"
    return f"{name} has the changes {dict(one.vector)}, and {other_name} has {dict(other.vector)}"


def _named(ids: Collection[str], edits: Mapping[str, Edit]) -> str:
    some = sorted(ids)[:_NAMED]
    return f"{len(ids)} edits, {', '.join(str(edits.get(one, one)) for one in some)}"


def _parting(one: str, other: str) -> str:
    at = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    start = max(0, at - _SHOWN_CHARS)
    return f"{one[start : at + _SHOWN_CHARS]!r} against {other[start : at + _SHOWN_CHARS]!r}"


def lost_edits(
    edits: Iterable[Edit],
    stored: Mapping[DocumentKey, Contents],
    voids: Collection[float],
    reloads: Mapping[str, float],
) -> list[str]:
    """Every acknowledged edit is stored. `voids`: when NATS lost what it had stored, after which editors send it again.

    `reloads`: when each author forgot its copy the last time. It cannot send edits of before then again.
    """
    last_void = max(voids, default=-math.inf)
    return [
        f"{edit.document.name} of {edit.document.room} does not have {edit}"
        for edit in edits
        if edit.acknowledged is not None and edit.id not in stored[edit.document].edits
        if not (edit.acknowledged <= last_void and edit.made <= reloads.get(edit.author, -math.inf))
    ]


@dataclass(frozen=True)
class Opened:
    """A newcomer who has synced. `missing`: acknowledged edits of before `asked` that it did not get."""

    document: DocumentKey
    editor: str
    asked: float
    synced: float
    missing: frozenset[str]


def incomplete_opens(
    opened: Iterable[Opened], edits: Mapping[str, Edit], excused: Collection[tuple[float, float]]
) -> list[str]:
    """A newcomer who is synced has every edit that was acknowledged before. `excused`: times when NATS is broken."""
    return [
        f"{one.document.name} of {one.document.room}: {one.editor} opened it at {one.asked:.2f} s, and was synced at "
        f"{one.synced:.2f} s without {_named(one.missing, edits)}"
        for one in opened
        if one.missing and not any(since <= one.synced and one.asked <= until for since, until in excused)
    ]
