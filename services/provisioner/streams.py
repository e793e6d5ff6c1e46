"""The configuration of streams and buckets, and an idempotent way to create and change them.

Several processes may do so at once, and settings may have changed. JetStream accepts the creation of a stream that
exists with the same configuration. A stream with another configuration is updated in place.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from studyroom.services.provisioner.sizes import Sizes
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import ApiError, Bus
from studyroom.shared.chassis.settings import StorageSettings
from studyroom.shared.contract import audit_subjects, document_subjects, hook_subjects, retention_subjects, subjects
from studyroom.shared.contract.groups import STREAMS_MADE, Group, all_groups

log = logs.get(__name__)

STREAM_NOT_FOUND = 10059
_SECOND_NS = 1_000_000_000
_STREAM_NAME_IN_USE = 10058
_NO_SUITABLE_PEERS = 10005
_NO_ROOM = (10023, 10028, 10047, 10053, 10122)
_DOCUMENTS_DUPLICATE_SECONDS = 120
"""Gateways retry for some seconds. Repeated updates change nothing anyway, they only take space."""
_HOOKS_DUPLICATE_SECONDS = 600
"""A replica that takes over appends the events of the last second again, and the log leaves them out for so long."""
_CLAIM = "studyroom.provisioner"


class WrongStorage(Exception):
    """A stream is not as configured, and the provisioner cannot change that."""


class ConfigurationIgnored(WrongStorage):
    """NATS has acknowledged a configuration, but has not applied all of it."""


class NotAllowed(Exception):
    """An operator must decide whether data may be lost, or must move it first."""


class NoRoom(Exception):
    """NATS does not have the space that a stream would reserve."""


@dataclass(frozen=True)
class StreamSpec:
    """The configuration of one stream. `config` has the keys that Studyroom sets. NATS adds the others."""

    config: dict[str, Any]

    @property
    def name(self) -> str:
        name: str = self.config["name"]
        return name


@dataclass(frozen=True, slots=True)
class Claim:
    """A provisioner's claim to configure streams. If several disagree, the one that started last wins."""

    started_ns: int

    def yields_to(self, metadata: dict[str, str]) -> bool:
        """Return whether a provisioner that started later has configured the stream."""
        return metadata.get(_CLAIM, "").isdecimal() and int(metadata[_CLAIM]) > self.started_ns

    @property
    def metadata(self) -> dict[str, str]:
        return {_CLAIM: str(self.started_ns)}


def specifications(settings: StorageSettings, sizes: Sizes | None = None) -> list[StreamSpec]:
    """Return the specification of each stream. Without `sizes`, streams keep their `max_bytes`, except by settings."""
    sizes, groups = dict(sizes or {}), all_groups(settings.groups)
    if settings.chat_max_bytes:
        most = settings.chat_max_bytes // len(groups) if settings.chat_max_bytes > 0 else -1
        sizes.update({group.chat_stream: most for group in groups})
    if settings.documents_max_bytes:
        most = settings.documents_max_bytes // len(groups) if settings.documents_max_bytes > 0 else -1
        sizes.update({group.documents_stream: most for group in groups})
    common = {
        "retention": "limits",
        "storage": settings.kind,
        "num_replicas": settings.replicas,
        "metadata": {STREAMS_MADE: " ".join(sorted(subjects.streams(settings.groups)))},
    }
    bucket = {
        **common,
        "max_msgs_per_subject": 1,
        "discard": "new",
        "deny_delete": True,
        "allow_direct": True,
        "allow_msg_ttl": True,
        # A rollup can empty a bucket with one message. Markers of expired keys need rollups (docs/decisions/0011).
        "allow_rollup_hdrs": False,
        "subject_delete_marker_ttl": 0,
    }
    chat = {
        **common,
        "description": "chat of all rooms",
        "discard": "old" if settings.chat_when_full == "drop_oldest" else "new",
        "max_msgs_per_subject": settings.chat_max_messages_per_room,
        "max_age": settings.chat_max_age_seconds * _SECOND_NS,
        "duplicate_window": settings.chat_duplicate_window_seconds * _SECOND_NS,
        "allow_direct": True,
        "republish": {"src": subjects.CHAT_SUBJECTS, "dest": subjects.CHAT_REPUBLISH_TARGET},
    }
    documents = {
        **common,
        "description": "shared documents of all rooms: updates, and snapshots that replace them",
        "discard": "new",
        "duplicate_window": _DOCUMENTS_DUPLICATE_SECONDS * _SECOND_NS,
        "allow_direct": True,
        "republish": {"src": document_subjects.DOCUMENT_LOGS, "dest": document_subjects.DOCUMENT_REPUBLISH_TARGET},
    }
    members = {
        **bucket,
        "description": "members of rooms; written by presence only",
        "allow_rollup_hdrs": True,
        "subject_delete_marker_ttl": settings.presence_marker_ttl_seconds * _SECOND_NS,
        "republish": {"src": subjects.PRESENCE_REPUBLISH_SOURCE, "dest": subjects.PRESENCE_REPUBLISH_TARGET},
    }
    leases = {
        **bucket,
        "name": subjects.GATEWAYS_STREAM,
        "description": "leases of gateways",
        "subjects": [subjects.GATEWAY_KEYS],
    }
    moderation = {
        **bucket,
        "name": subjects.MODERATION_STREAM,
        "description": "bans, and orders to leave",
        "subjects": [subjects.MODERATION_KEYS],
        "republish": {"src": subjects.MODERATION_KEYS, "dest": subjects.MODERATION_EVENTS},
    }
    retention = {
        **bucket,
        "name": retention_subjects.RETENTION_STREAM,
        "description": "how long rooms keep messages and versions",
        "subjects": [retention_subjects.RETENTION_KEYS],
    }
    audit = {
        **common,
        "name": audit_subjects.AUDIT_STREAM,
        "description": "erasures and exports: who, what, when and with which outcome",
        "subjects": [audit_subjects.AUDIT_SUBJECTS],
        "discard": "new",
        "max_age": settings.audit_max_age_seconds * _SECOND_NS,
        "deny_delete": True,
        "deny_purge": True,
        "allow_direct": True,
    }
    return [
        StreamSpec({**config, **({"max_bytes": sizes[config["name"]]} if config["name"] in sizes else {})})
        for config in (
            *(_of_group(group, members, group.presence_stream, group.presence_subjects) for group in groups),
            leases,
            moderation,
            retention,
            *(_of_group(group, chat, group.chat_stream, group.chat_subjects) for group in groups),
            *(_of_group(group, documents, group.documents_stream, group.documents_subjects) for group in groups),
            *(_of_hooks(settings, bucket, groups) if settings.has_hooks else []),
            audit,
        )
    ]


def _of_hooks(settings: StorageSettings, bucket: dict[str, Any], groups: list[Group]) -> Iterator[dict[str, Any]]:
    """The streams of hooks. The bucket of members has the newest entry of each only, so NATS copies all into a log.

    The log must not allow rollups: a removal would take what it follows with it.
    """
    log = {
        **{key: bucket[key] for key in ("retention", "storage", "num_replicas", "metadata")},
        "discard": "old",
        "max_age": settings.hooks_max_age_seconds * _SECOND_NS,
        "allow_direct": True,
        "allow_rollup_hdrs": False,
    }
    events = {**log, "description": "events for backends", "duplicate_window": _HOOKS_DUPLICATE_SECONDS * _SECOND_NS}
    for group in groups:
        yield _of_group(group, events, group.hooks_stream, group.hooks_subjects)
        transform = {"src": hook_subjects.MEMBER_LOG_SOURCE, "dest": hook_subjects.MEMBER_LOG_TARGET}
        source = {"name": group.presence_stream, "subject_transforms": [transform]}
        changes = {**log, "description": "changes of members, which NATS copies", "sources": [source]}
        yield _of_group(group, changes, group.member_log_stream)
    yield {
        **bucket,
        "name": hook_subjects.HOOKS_BUCKET_STREAM,
        "description": "what backends have got",
        "subjects": [hook_subjects.HOOKS_KEYS],
    }


def _of_group(group: Group, config: dict[str, Any], name: str, own_subjects: Sequence[str] = ()) -> dict[str, Any]:
    description = config["description"]
    if group.count > 1:
        description += f" in group {group.number} of {group.count}"
    listened = {"subjects": list(own_subjects)} if own_subjects else {}
    return {**config, "name": name, "description": description, **listened}


async def find(bus: Bus, name: str) -> dict[str, Any] | None:
    """Return what NATS reports of a stream, None if it does not exist. Raises ApiError or BusUnavailable."""
    try:
        return await bus.api(f"STREAM.INFO.{name}")
    except ApiError as error:
        if error.code == STREAM_NOT_FOUND:
            return None
        raise


async def ensure(bus: Bus, specs: list[StreamSpec]) -> None:
    """Make every stream exist as specified. Raises WrongStorage, NoRoom, ApiError or BusUnavailable."""
    claim = Claim(time.time_ns())
    for spec in specs:
        with suppress(Superseded):
            await ensure_one(bus, spec, await find(bus, spec.name), claim)


async def ensure_one(bus: Bus, spec: StreamSpec, found: dict[str, Any] | None, claim: Claim) -> None:
    """Make one stream as specified, and check the result. `found`: the result of `find`.

    Raises Superseded, and the same as `ensure`.
    """
    if found is None:
        try:
            made = await bus.api(f"STREAM.CREATE.{spec.name}", spec.config)
        except ApiError as error:
            if error.code != _STREAM_NAME_IN_USE:
                raise _explained(spec, "made", error) from error
            # Another process with other settings was faster.
            found = await bus.api(f"STREAM.INFO.{spec.name}")
        else:
            log.info("stream created", stream=spec.name)
            _check_applied(bus, spec, made["config"])
            return
    actual = found["config"]
    changes = differences(spec.config, actual)
    if changes and claim.yields_to(actual.get("metadata") or {}):
        raise Superseded(spec.name, changes)
    if changes:
        await _update(bus, spec, actual, changes, claim)


class Superseded(Exception):
    """A provisioner that started later has configured the stream differently."""

    def __init__(self, stream: str, changes: dict[str, Any]) -> None:
        super().__init__(f"a provisioner that started later has configured stream {stream} ({sorted(changes)})")


async def _update(bus: Bus, spec: StreamSpec, actual: dict[str, Any], changes: dict[str, Any], claim: Claim) -> None:
    if "storage" in changes:
        raise WrongStorage(
            f"stream {spec.name} is in {actual['storage']} storage and cannot be moved to {spec.config['storage']}: "
            "set STUDYROOM_STORAGE_KIND back, or delete the stream"
        )
    metadata = {**(actual.get("metadata") or {}), **spec.config["metadata"], **claim.metadata}
    try:
        made = await bus.api(f"STREAM.UPDATE.{spec.name}", {**actual, **spec.config, "metadata": metadata})
    except ApiError as error:
        raise _explained(spec, f"changed ({sorted(changes)})", error) from error
    log.info("stream updated", stream=spec.name, changes=changes)
    if not differences(claim.metadata, made["config"].get("metadata") or {}):  # else another was faster
        _check_applied(bus, spec, made["config"])


def _check_applied(bus: Bus, spec: StreamSpec, made: dict[str, Any]) -> None:
    """Check that NATS has applied the configuration. Older servers ignore keys that they do not know."""
    if ignored := differences(spec.config, made):
        raise ConfigurationIgnored(f"nats-server {bus.server_version} ignored {sorted(ignored)} of stream {spec.name}")


def _explained(spec: StreamSpec, what: str, error: ApiError) -> Exception:
    no_room = error.code in _NO_ROOM or (error.code == _NO_SUITABLE_PEERS and "storage" in str(error))
    text = f"stream {spec.name} cannot be {what}: {error}"
    return NoRoom(f"{text}; it needs {spec.config.get('max_bytes', -1)} bytes") if no_room else WrongStorage(text)


def differences(wanted: dict[str, Any], actual: dict[str, Any]) -> dict[str, Any]:
    """Return the keys whose values differ, with the wanted values. NATS omits keys that are zero, and adds others."""
    return {key: value for key, value in wanted.items() if not _is_same(value, actual.get(key))}


def _is_same(wanted: Any, actual: Any) -> bool:
    if isinstance(wanted, dict):
        return isinstance(actual, dict) and not differences(wanted, actual)
    if actual is None:
        return wanted is None or (isinstance(wanted, bool | int | str) and not wanted)
    return bool(wanted == actual)
