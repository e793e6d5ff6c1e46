"""The streams of a cluster: making them, and choosing their leaders."""

import json

from studyroom.services.provisioner.streams import StreamSpec, WrongStorage, ensure
from studyroom.shared.chassis.nats.bus import Bus, BusError
from tests.support.presence import connected
from tests.support.processes import NatsServer
from tests.support.waiting import eventually


async def make_streams(bus: Bus, specs: list[StreamSpec]) -> None:
    """Make streams as the provisioner does, until it works. For NATS a server that has just come is offline."""

    async def made() -> bool:
        try:
            await ensure(bus, specs)
        except (BusError, WrongStorage):
            return False
        return True

    await eventually(made, "the streams are there", 30)


async def lead(server: NatsServer, stream: str) -> None:
    """Make this server the leader of the stream."""
    async with connected(server.url) as bus:

        async def leads() -> bool:
            try:
                info = json.loads((await bus.request(f"$JS.API.STREAM.INFO.{stream}", timeout=5)).data)
                if info["cluster"].get("leader") == server.name:
                    return True
                wish = json.dumps({"placement": {"preferred": server.name}}).encode()
                await bus.request(f"$JS.API.STREAM.LEADER.STEPDOWN.{stream}", wish, timeout=5)
            except TimeoutError:
                pass  # there is no leader at the moment
            return False

        await eventually(leads, f"{server.name} leads {stream}", 30)
