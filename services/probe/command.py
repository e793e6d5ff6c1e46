"""The command `studyroom probe`."""

import asyncio
import json
import ssl
import sys
from typing import Any

from studyroom.services.probe.exporter import export
from studyroom.services.probe.probe import Pass, Probe, as_json, as_text
from studyroom.services.probe.settings import GatewayTokens, ProbeSettings
from studyroom.services.probe.tokens import token_source
from studyroom.shared.chassis import descriptors, logs
from studyroom.shared.chassis.listening import AddressUnavailable, listen
from studyroom.shared.chassis.settings import ProcessSettings, load_or_exit


def make_probe() -> tuple[Probe, ProcessSettings]:
    """Return the probe of the settings in the environment, and the settings of the process. Bad settings end it."""
    settings: Any = load_or_exit([ProcessSettings, ProbeSettings, GatewayTokens])
    own: ProbeSettings = settings[ProbeSettings]
    logs.configure(settings[ProcessSettings], "probe")
    probe = Probe(
        own.url,
        token_of=token_source(own, settings[GatewayTokens]),
        deadline_seconds=own.deadline_seconds,
        tls=ssl.create_default_context(cafile=own.tls_ca_file) if own.tls_ca_file else None,
    )
    return probe, settings[ProcessSettings]


def once(*, for_programs: bool) -> tuple[str, bool]:
    """Make one pass. Return the report, and whether all is well."""
    probe, _ = make_probe()
    done: Pass = asyncio.run(probe.once())
    return json.dumps(as_json(done), indent=2) if for_programs else as_text(done), done.succeeded


def serve(every_seconds: float, address: tuple[str, int] | None) -> int:
    """Make passes until a signal, and return the exit status. `address`: in place of the admin port of the settings."""
    probe, process = make_probe()
    descriptors.raise_limit()
    try:
        listener = listen(*(address or (process.admin_host, process.admin_port)))
    except AddressUnavailable as error:
        print(f"studyroom probe: {error}", file=sys.stderr)  # noqa: T201 - logs are for a running service
        return 1
    asyncio.run(export(probe, listener, every_seconds))
    return 0
