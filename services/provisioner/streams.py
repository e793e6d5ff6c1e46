"""What the streams and buckets look like, and the idempotent way to make them so.

Many processes may run `ensure` at once and settings may differ from last time: creating what exists with the same
configuration is no error in JetStream, and another configuration is updated in place.
"""

from dataclasses import dataclass
from typing import Any

from services import logs
from services.bus import ApiError, Bus
from services.settings import StorageSettings
from shared import subjects

log = logs.get(__name__)

_SECOND_NS = 1_000_000_000
_MODERATION_MARKER_SECONDS = 3600
_STREAM_NOT_FOUND = 10059
_STREAM_NAME_IN_USE = 10058


class WrongStorage(Exception):
    """A stream exists with a configuration that cannot be changed into ours."""


@dataclass(frozen=True)
class StreamSpec:
    """`config`: the keys of the JetStream stream configuration that are ours; NATS fills in the others."""

    config: dict[str, Any]

    @property
    def name(self) -> str:
        name: str = self.config["name"]
        return name


def specifications(settings: StorageSettings) -> list[StreamSpec]:
    common = {"retention": "limits", "storage": settings.kind, "num_replicas": settings.replicas}
    bucket = {
        **common,
        "max_msgs_per_subject": 1,
        "discard": "new",
        "allow_rollup_hdrs": True,
        "deny_delete": True,
        "allow_direct": True,
        "allow_msg_ttl": True,
        "subject_delete_marker_ttl": settings.presence_marker_ttl_seconds * _SECOND_NS,
    }
    return [
        StreamSpec(
            {
                **bucket,
                "name": subjects.PRESENCE_STREAM,
                "description": "members of rooms; written by presence only",
                "subjects": [subjects.PRESENCE_KEYS],
                "republish": {
                    "src": subjects.PRESENCE_REPUBLISH_SOURCE,
                    "dest": subjects.PRESENCE_REPUBLISH_TARGET,
                },
            }
        ),
        StreamSpec(
            {
                **bucket,
                "name": subjects.GATEWAYS_STREAM,
                "description": "leases of gateways",
                "subjects": [subjects.GATEWAY_KEYS],
            }
        ),
        StreamSpec(
            {
                **bucket,
                "name": subjects.MODERATION_STREAM,
                "description": "bans, and orders to leave",
                "subjects": [subjects.MODERATION_KEYS],
                "subject_delete_marker_ttl": _MODERATION_MARKER_SECONDS * _SECOND_NS,
                "republish": {"src": subjects.MODERATION_KEYS, "dest": subjects.MODERATION_EVENTS},
            }
        ),
        StreamSpec(
            {
                **common,
                "name": subjects.CHAT_STREAM,
                "description": "chat of all rooms",
                "subjects": [subjects.CHAT_SUBJECTS],
                "discard": "old",
                "max_msgs_per_subject": settings.chat_max_messages_per_room,
                "max_age": settings.chat_max_age_seconds * _SECOND_NS,
                "max_bytes": settings.chat_max_bytes,
                "duplicate_window": settings.chat_duplicate_window_seconds * _SECOND_NS,
                "allow_direct": True,
                "republish": {"src": subjects.CHAT_SUBJECTS, "dest": subjects.CHAT_REPUBLISH_TARGET},
            }
        ),
    ]


async def ensure(bus: Bus, specs: list[StreamSpec]) -> None:
    """Make every stream exist as specified. Raises WrongStorage, ApiError or BusUnavailable."""
    for spec in specs:
        await _ensure_one(bus, spec)


async def _ensure_one(bus: Bus, spec: StreamSpec) -> None:
    try:
        actual = (await bus.api(f"STREAM.INFO.{spec.name}"))["config"]
    except ApiError as error:
        if error.code != _STREAM_NOT_FOUND:
            raise
        try:
            await bus.api(f"STREAM.CREATE.{spec.name}", spec.config)
        except ApiError as conflict:
            if conflict.code != _STREAM_NAME_IN_USE:
                raise
            # Another process with other settings was faster; the next pass updates.
            actual = (await bus.api(f"STREAM.INFO.{spec.name}"))["config"]
        else:
            log.info("stream created", stream=spec.name)
            return
    if changes := differences(spec.config, actual):
        await _update(bus, spec, actual, changes)


async def _update(bus: Bus, spec: StreamSpec, actual: dict[str, Any], changes: dict[str, Any]) -> None:
    if "storage" in changes:
        raise WrongStorage(
            f"stream {spec.name} is in {actual['storage']} storage and cannot be moved to {spec.config['storage']}: "
            "set STUDYROOM_STORAGE_KIND back, or delete the stream"
        )
    try:
        await bus.api(f"STREAM.UPDATE.{spec.name}", {**actual, **spec.config})
    except ApiError as error:
        raise WrongStorage(f"stream {spec.name} cannot be changed ({sorted(changes)}): {error}") from error
    log.info("stream updated", stream=spec.name, changes=changes)


def differences(wanted: dict[str, Any], actual: dict[str, Any]) -> dict[str, Any]:
    """Keys whose value differs, with the wanted value. NATS leaves out keys that are zero."""
    zero = {type(None): None, bool: False, int: 0, str: ""}
    return {key: value for key, value in wanted.items() if actual.get(key, zero.get(type(value))) != value}
