"""Lists the subjects of a stream, and erases single messages without a trace."""

from studyroom.shared.chassis.nats.bus import ApiError, Bus


async def erase(bus: Bus, stream: str, sequence: int) -> None:
    """Overwrite and remove a message. Succeeds also if it is gone already. Raises ApiError or BusUnavailable."""
    try:
        await bus.api(f"STREAM.MSG.DELETE.{stream}", {"seq": sequence})
    except ApiError:
        if await bus.stored(stream, {"seq": sequence}) is not None:
            raise


async def subjects_of(bus: Bus, stream: str, pattern: str) -> list[str]:
    """Return the subjects of a stream that match a pattern and have messages. Raises ApiError or BusUnavailable."""
    found: list[str] = []
    while True:
        info = await bus.api(f"STREAM.INFO.{stream}", {"subjects_filter": pattern, "offset": len(found)})
        page = list(info["state"].get("subjects") or {})
        found += page
        if not page or len(found) >= info.get("total", 0):
            return found
