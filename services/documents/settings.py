"""Settings of the documents service."""

from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from studyroom.shared.chassis.settings import Settings
from studyroom.shared.chassis.shards import ALL_SHARDS, parse_shards


class DocumentsSettings(Settings):
    """The documents service."""

    model_config = SettingsConfigDict(env_prefix="STUDYROOM_DOCUMENTS_")

    shards: str = Field(
        ALL_SHARDS,
        description="The shards that this replica serves, such as 0-31 or 0-7,40. Two replicas must serve the same or "
        "disjoint shards.",
    )
    max_bytes: int = Field(
        4_194_304,
        ge=1024,
        description="The length of one document as a Yjs update, from which on it accepts no more edits. The same for "
        "all replicas.",
    )
    per_room_max: int = Field(
        1000,
        ge=1,
        description="The most documents of one room. Those that are there stay, and can be edited. The same for all "
        "replicas.",
    )
    cache_max_bytes: int = Field(
        67_108_864,
        ge=0,
        description="The length of all documents together that a replica keeps to answer quickly. They take several "
        "times as much memory.",
    )
    snapshot_updates: int = Field(
        500, ge=2, description="A document with so many updates since its last snapshot gets a new one."
    )
    snapshot_bytes: int = Field(
        1_048_576, ge=1, description="The same for the length of these updates, noticed when a gateway asks for it."
    )
    survey_seconds: float = Field(
        30.0,
        gt=0,
        description="The time in which a replica asks NATS once for the number of updates of each document. Documents "
        "that were edited and then left alone between two such questions get a snapshot too.",
    )
    versions_max: int = Field(100, ge=1, description="The most versions of one document. The same for all replicas.")
    versions_max_bytes: int = Field(
        33_554_432,
        ge=1024,
        description="The length of all versions of one document together. The same for all replicas.",
    )
    request_deadline_seconds: float = Field(
        5.0, gt=0, le=8, description="A replica answers `unavailable` to a request that takes longer."
    )
    concurrent_requests: int = Field(
        64, ge=1, description="Requests that a replica works on at once, besides a few of each shard."
    )

    @field_validator("shards")
    @classmethod
    def _check_shards(cls, value: str) -> str:
        parse_shards(value)
        return value
