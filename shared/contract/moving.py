"""`Moving`: a gateway asks a client to open its next connection before it closes the present one."""

from typing import Literal

from pydantic import Field

from studyroom.shared.contract.ids import RoomIdField
from studyroom.shared.contract.parts import Part, is_none


class MovingPayload(Part):
    within_ms: int
    """The server closes this connection after so many milliseconds, if the client has not done so."""
    room: RoomIdField | None = Field(default=None, exclude_if=is_none)
    """The value of `?room=` for the next connection; absent if the client's own value stays right."""


class Moving(Part):
    """The server is about to close this connection. Open another one first, and join the room there."""

    type: Literal["Moving"] = "Moving"
    payload: MovingPayload


def knows_moving(parameter: str | None) -> bool:
    """Return whether a client knows `Moving`, by the value of `?moving=` in its address. Others never get it."""
    return parameter == "true"
