"""Requests of gateways to the hooks service about what was erased, and its answers."""

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from studyroom.shared.contract.ids import RoomIdField
from studyroom.shared.contract.parts import JsonMessage


class Action(StrEnum):
    ERASE = "erase"
    """Erase what is stored about users and rooms for hooks. Ask again until the outcome is `done`."""
    REPORT = "report"
    """Send the backend an event about an erasure, after all events from before it."""


class Report(StrEnum):
    """The subject of a report: something that was erased."""

    USER = "user"
    """The target is the fingerprint of the user."""
    ROOM = "room"
    """The target is the room."""
    MESSAGES = "messages"
    """The target is the room."""


class Outcome(StrEnum):
    DONE = "done"
    UNFINISHED = "unfinished"
    """There is more to do: ask again, with the `position` of the answer as `after`."""
    UNAVAILABLE = "unavailable"
    """The service cannot do it now. Ask again later, from the beginning."""


class HooksRequest(JsonMessage):
    action: Action
    users: dict[str, datetime | None] = Field(default_factory=dict)
    """The fingerprints of users to erase (`audit.fingerprint`). Newer entries than the time stay; None for all."""
    room: RoomIdField | None = None
    """A room to erase."""
    until: datetime | None = None
    """Entries of the room that were stored after this time stay; None for all."""
    after: int = Field(0, ge=0)
    """The position in the log of events up to which the answer before has come; 0 to begin."""
    report: Report = Report.USER
    target: str = ""
    """The user or room that was erased, for a report."""
    before: int | None = None
    """In Unix seconds: the messages that were erased are those from before this time."""
    token: str = ""
    """Distinguishes a report from others about this target, and is the same when it is repeated."""


class HooksAnswer(JsonMessage):
    outcome: Outcome
    position: int = 0
    reason: str = Field("", max_length=200)
    """Why the service cannot do it now, for people."""
