"""Settings from environment variables `STUDYROOM_*`, and from a file with such variables.

Every settings class has a prefix for its variables. Every field has a description, from which `.env.example` is
written. Bad values of all classes are reported together.
"""

import difflib
import os
import re
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal, get_args, get_origin
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import BeforeValidator, Field, FilePath, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from studyroom.shared.contract.subjects import GROUPS_MAX

EXIT_BAD_SETTINGS = 2
PREFIX = "STUDYROOM_"
OF_COMPOSE = frozenset(
    f"STUDYROOM_{name}"
    for name in (
        "GRAFANA_PORT", "IMAGE", "NATS_BACKUP_PASSWORD", "NATS_DOCTOR_PASSWORD", "NATS_GATEWAY_PASSWORD",
        "NATS_MAX_FILE_STORE", "NATS_DOCUMENTS_PASSWORD", "NATS_HOOKS_PASSWORD", "NATS_INSPECTOR_PASSWORD",
        "NATS_OPERATOR_PASSWORD", "NATS_PRESENCE_PASSWORD", "NATS_PROVISIONER_PASSWORD", "NATS_ROUTE_PASSWORD", "PORT",
        "PROMETHEUS_PORT",
    )
)  # fmt: skip
"""Variables that only docker-compose.yml reads. They may be in the same `.env`."""
_OF_KUBERNETES = re.compile(r"_SERVICE_(HOST|PORT(_\w+)?)$|_PORT(_\d+_(TCP|UDP)(_(PROTO|PORT|ADDR))?)?$")
"""Variables that Kubernetes adds to containers for each Service, unless a pod has `enableServiceLinks: false`."""


def _split(value: object) -> object:
    if isinstance(value, str):
        value = tuple(part.strip() for part in value.split(",") if part.strip())
    return value


CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""A list in one variable, separated by commas."""


class Settings(BaseSettings):
    """The base of all settings classes."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True)

    @classmethod
    def variables(cls) -> dict[str, str]:
        """Return the environment variable of each field."""
        prefix = cls.model_config["env_prefix"]
        return {field: (prefix + field).upper() for field in cls.model_fields}


class ProcessSettings(Settings):
    """All processes."""

    model_config = SettingsConfigDict(env_prefix="STUDYROOM_")

    env_file: str = Field(
        ".env", description="A file with more settings. Environment variables override it. Empty for no file."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least severe level that is logged."
    )
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="The form of logs. auto: readable on a terminal, JSON elsewhere."
    )
    pure_python: bool = Field(
        False, description="Run the data path of the gateway as Python, even if it is compiled. It is slower."
    )
    admin_host: str = Field("127.0.0.1", description="The address of the admin port: /healthz, /readyz and /metrics.")
    admin_token: SecretStr | None = Field(
        None,
        min_length=16,
        examples=["a-long-random-text"],
        description="The token for requests of the admin port that look into the process, at /debug. Without it there "
        "are no such requests.",
    )
    admin_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="The admin port. 0 for any free one. With --workers, worker i listens on this + i.",
    )
    stop_deadline_seconds: float = Field(
        25.0,
        gt=0,
        description="The longest time from SIGTERM to the end of the drain. Open connections are aborted then.",
    )


class NatsSettings(Settings):
    """The connection to NATS."""

    model_config = SettingsConfigDict(env_prefix="STUDYROOM_NATS_")

    url: CommaSeparated = Field(("nats://127.0.0.1:4222",), description="The servers, separated by commas.")
    user: str | None = Field(None, examples=["gateway"], description="The user name, with STUDYROOM_NATS_PASSWORD.")
    password: SecretStr | None = Field(
        None, validate_default=True, examples=["a-long-random-text"], description="The password of that user."
    )
    credentials_file: FilePath | None = Field(
        None,
        examples=["/run/secrets/gateway.creds"],
        description="The path of a credentials file (`nsc generate creds`), in place of user and password, for NATS "
        "with an operator and JWTs. You may replace the file, because every connection reads it again.",
    )
    jetstream_domain: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_-]+$",
        examples=["hub"],
        description="The JetStream domain of the streams, if it is not the domain of the servers above.",
    )
    tls_ca_file: FilePath | None = Field(
        None,
        examples=["/run/tls/ca.crt"],
        description="The path of the CA certificates that verify the servers. If set, TLS is required.",
    )
    tls_cert_file: FilePath | None = Field(
        None, examples=["/run/tls/tls.crt"], description="The path of a client certificate, if the servers require one."
    )
    tls_key_file: FilePath | None = Field(
        None, validate_default=True, examples=["/run/tls/tls.key"], description="The path of that certificate's key."
    )
    ping_interval_seconds: float = Field(
        1.0, gt=0, description="How often the server is pinged. A frozen one is noticed after three times as long."
    )
    connect_timeout_seconds: float = Field(2.0, gt=0, description="The deadline for connecting to one server.")
    reconnect_max_wait_seconds: float = Field(
        2.0, gt=0, description="The longest wait between attempts to reconnect, which go on for ever, with jitter."
    )

    @property
    def addresses(self) -> list[str]:
        """The servers without user and password, for logs."""
        return [re.sub("//.*@", "//", url) for url in self.url]

    @field_validator("url")
    @classmethod
    def _schemes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("name at least one server")
        for url in value:
            if not _is_server(url):
                raise ValueError(
                    "a server is nats://host:port or tls://host:port; "
                    "a password with / ? or # must be in STUDYROOM_NATS_PASSWORD"
                )
        return value

    @field_validator("password")
    @classmethod
    def _user_and_password(cls, value: SecretStr | None, others: ValidationInfo) -> SecretStr | None:
        if (value is None) != (others.data.get("user") is None):
            raise ValueError("STUDYROOM_NATS_USER and STUDYROOM_NATS_PASSWORD go together")
        return value

    @field_validator("credentials_file")
    @classmethod
    def _readable_credentials(cls, value: Path | None, others: ValidationInfo) -> Path | None:
        if value is None:
            return value
        if others.data.get("user") is not None or others.data.get("password") is not None:
            raise ValueError("replaces STUDYROOM_NATS_USER and STUDYROOM_NATS_PASSWORD, so set only one of both")
        from studyroom.shared.chassis.nats.credentials import Credentials

        Credentials.read(value)
        return value

    @field_validator("tls_key_file")
    @classmethod
    def _pair(cls, value: Path | None, others: ValidationInfo) -> Path | None:
        if (value is None) != (others.data.get("tls_cert_file") is None):
            raise ValueError("STUDYROOM_NATS_TLS_CERT_FILE and STUDYROOM_NATS_TLS_KEY_FILE go together")
        if value is not None and others.data.get("tls_ca_file") is None:
            raise ValueError("needs STUDYROOM_NATS_TLS_CA_FILE")
        return value


def _is_server(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    return (
        parts.scheme in {"nats", "tls"}
        and bool(parts.hostname)
        and parts.path + parts.query + parts.fragment in {"", "/"}
    )


class StorageSettings(Settings):
    """Streams and buckets, which the provisioner makes."""

    model_config = SettingsConfigDict(env_prefix="STUDYROOM_STORAGE_")

    replicas: int = Field(1, ge=1, le=5, description="The copies of every stream. Use 3 on a cluster of three.")
    kind: Literal["file", "memory"] = Field("file", description="Where streams are stored. You cannot change it later.")
    groups: int = Field(
        1,
        ge=1,
        le=GROUPS_MAX,
        description="Groups of shards. Each has streams of chat, documents and members, with leaders of their own. The "
        "same for all processes. Changing it takes a stop (docs/operations.md).",
    )
    chat_max_messages_per_room: int = Field(
        10_000, ge=1, description="The most chat messages of one room. Beyond it the oldest are dropped."
    )
    chat_max_age_seconds: int = Field(
        30 * 86_400, ge=0, description="The age at which chat messages are dropped. 0 to keep them."
    )
    size_bytes: int = Field(
        0,
        ge=0,
        description="The size of all streams together on each server. 0 for the limit of the account, or else the "
        "smallest max_file_store of the servers.",
    )
    create: Literal["new", "missing", "never"] = Field(
        "new",
        description="Which streams the provisioner makes. new: missing ones, unless something shows that there was "
        "chat before. missing: all missing ones. never: none.",
    )
    chat_max_bytes: int = Field(
        0, ge=-1, description="The size of all chat together. 0 for three quarters of the store, -1 for no limit."
    )
    chat_when_full: Literal["refuse", "drop_oldest"] = Field(
        "refuse", description="Beyond that size: refuse new chat, or drop the oldest chat of all rooms."
    )
    chat_duplicate_window_seconds: int = Field(
        120, ge=1, description="How long retries of a chat message with the same id are deduplicated."
    )
    documents_max_bytes: int = Field(
        0,
        ge=-1,
        description="The size of all shared documents together. 0 for a sixteenth of the store, -1 for no limit.",
    )
    hooks_max_age_seconds: int = Field(
        0,
        ge=0,
        description="How long events for your backend are kept, for deliveries that fail and for replays. 0 for no "
        "hooks: the provisioner makes no streams for them. The same for all processes.",
    )
    presence_marker_ttl_seconds: int = Field(
        600,
        ge=60,
        description="How long the delete marker of a removed member is kept. A replica of presence that is cut off for "
        "more than half of it rebuilds its mirror.",
    )
    audit_max_age_seconds: int = Field(
        400 * 86_400,
        ge=0,
        description="How long the records of erasures and exports are kept. 0 to keep them. Keep them for longer than "
        "your backups, because after a restore they show which data must be erased again.",
    )

    @property
    def has_hooks(self) -> bool:
        return self.hooks_max_age_seconds > 0

    @field_validator("chat_duplicate_window_seconds")
    @classmethod
    def _window_within_age(cls, value: int, others: ValidationInfo) -> int:
        max_age = others.data.get("chat_max_age_seconds", 0)
        if 0 < max_age < value:
            raise ValueError("must not be longer than STUDYROOM_STORAGE_CHAT_MAX_AGE_SECONDS")
        return value


def read_env_file() -> None:
    """Read settings that are not in the environment from the file in STUDYROOM_ENV_FILE, `.env` by default.

    It ignores variables without Studyroom's prefix, because Compose may have others in the same file.
    """
    default = str(ProcessSettings.model_fields["env_file"].default)
    if path := os.environ.get("STUDYROOM_ENV_FILE", default):
        for variable, value in dotenv_values(path).items():
            if variable.startswith(PREFIX) and value is not None:
                os.environ.setdefault(variable, value)


def unknown_variables(classes: Sequence[type[Settings]]) -> dict[str, str | None]:
    """Return variables that have the prefix but are not settings, each with the most similar setting.

    Variables that Kubernetes adds for a Service of this name (`STUDYROOM_SERVICE_HOST`, `STUDYROOM_PORT_8080_TCP`) are
    left out.
    """
    known = {variable.removeprefix(PREFIX) for cls in classes for variable in cls.variables().values()}
    return {
        variable: _most_like(variable.removeprefix(PREFIX), known)
        for variable in sorted(os.environ)
        if variable.startswith(PREFIX)
        and variable.removeprefix(PREFIX) not in known
        and variable not in OF_COMPOSE
        and not _OF_KUBERNETES.search(variable)
    }


def _most_like(name: str, names: Collection[str]) -> str | None:
    """Return the variable that is most similar to `name`, which has no prefix."""
    found = difflib.get_close_matches(name, names, n=1, cutoff=0.7)
    return PREFIX + found[0] if found else None


class BadSettings(Exception):
    """One or more variables are wrong. `problems` maps each variable to its problem."""

    def __init__(self, problems: dict[str, str]) -> None:
        self.problems = problems
        lines = [f"  {variable}: {problem}" for variable, problem in sorted(problems.items())]
        super().__init__("bad settings in the environment:\n" + "\n".join(lines))


def load(classes: Sequence[type[Settings]]) -> dict[type[Settings], Settings]:
    """Return an instance of each class from the environment. Raises BadSettings that names every bad variable."""
    loaded: dict[type[Settings], Settings] = {}
    problems: dict[str, str] = {}
    for cls in classes:
        try:
            loaded[cls] = cls()
        except ValidationError as error:
            variables = cls.variables()
            for item in error.errors(include_url=False, include_input=False):
                field = str(item["loc"][0]) if item["loc"] else ""
                problems[variables.get(field, cls.model_config["env_prefix"] + "*")] = item["msg"]
    if problems:
        raise BadSettings(problems)
    return loaded


def load_or_exit(classes: Sequence[type[Settings]]) -> dict[type[Settings], Settings]:
    """Load settings. If some are bad, print the problems and end the process with status 2."""
    try:
        return load(classes)
    except BadSettings as error:
        print(error, file=sys.stderr)  # noqa: T201 - logs are not set up yet
        sys.exit(EXIT_BAD_SETTINGS)


def describe(classes: Sequence[type[Settings]]) -> str:
    """Return the text of `.env.example`: every variable with its description and default."""
    lines = ["# Every setting of every process, with its default. Written by `make env-example`."]
    for part, fields in parts(classes):
        lines += ["", f"# --- {(part.__doc__ or part.__name__).strip().splitlines()[0]}"]
        variables = part.variables()
        for field in fields:
            info = part.model_fields[field]
            lines += ["", f"# {info.description}", f"# {variables[field]}={as_text(info.default)}"]
    return "\n".join(lines) + "\n"


def parts(classes: Sequence[type[Settings]]) -> Iterator[tuple[type[Settings], list[str]]]:
    """Yield each class with fields of its own, and their names. A class may be a base of one of `classes`."""
    seen: set[type] = set()
    for cls in classes:
        for part in reversed(cls.__mro__):
            if issubclass(part, Settings) and part not in seen:
                seen.add(part)
                if own := [field for field in part.__annotations__ if field in part.model_fields]:
                    yield part, own


def example_of(field: FieldInfo) -> str:
    """Return a valid value for the documentation, different from the default if there is a choice.

    Raises ValueError if the field has neither `examples` nor a default.
    """
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    if field.examples:
        example = field.examples[0]
    elif isinstance(field.default, bool):
        example = not field.default
    elif others := [choice for choice in choices if choice != field.default]:
        example = others[-1]
    else:
        example = field.default
    if not (text := as_text(example)):
        raise ValueError("a setting without a default needs `examples`")
    return text


def as_text(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case tuple():
            return ",".join(map(str, value))
        case _:
            return str(value)
