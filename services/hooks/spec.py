"""Describes the hooks service to the `studyroom` command."""

from typing import Any

from studyroom.services.hooks.settings import HooksSettings
from studyroom.shared.chassis.settings import BadSettings, Settings, StorageSettings
from studyroom.shared.chassis.spec import ServiceSpec


def check(settings: dict[type[Settings], Any]) -> None:
    """Raises BadSettings if the settings name no backend, or keep no events."""
    problems = {}
    if settings[HooksSettings].url is None:
        problems["STUDYROOM_HOOKS_URL"] = "is needed: the address of your backend"
    if not settings[StorageSettings].has_hooks:
        problems["STUDYROOM_STORAGE_HOOKS_MAX_AGE_SECONDS"] = "must be more than 0, as for the provisioner"
    if problems:
        raise BadSettings(problems)


SPEC = ServiceSpec(
    name="hooks",
    settings=(HooksSettings, StorageSettings),
    service="studyroom.services.hooks.service:Hooks",
    check=check,
)
