"""Compares the number of groups of shards of this process with that of the streams that the provisioner has made."""

import asyncio

from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import Bus, BusError
from studyroom.shared.contract.groups import groups_made

log = logs.get(__name__)

_RETRY_SECONDS = 0.1


class WrongGroups(Exception):
    """The streams have another number of groups than this process."""


async def check_groups(bus: Bus, stream: str, wanted: int) -> None:
    """Return when the stream exists and has been made for this number of groups. Raises WrongGroups.

    `stream`: one that exists with any number of groups, and about which this process may ask. A stream that does not
    tell, because others have made it, may have any number.
    """
    logged = ""
    while True:
        try:
            config = (await bus.api(f"STREAM.INFO.{stream}"))["config"]
        except BusError as error:
            if logged != (logged := str(error)):
                log.warning("waiting for the streams, which the provisioner makes", error=logged)
            await asyncio.sleep(_RETRY_SECONDS)
            continue
        made = groups_made(config)
        if made not in {None, wanted}:
            raise WrongGroups(
                f"STUDYROOM_STORAGE_GROUPS is {wanted} here, and the streams were made with {made}: set the same for "
                'all processes (docs/operations.md, "Groups of shards")'
            )
        return
