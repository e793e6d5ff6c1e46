"""The users of NATS as in production: `deploy/nats/accounts.conf`, with passwords for tests."""

from pathlib import Path
from typing import Any

DEPLOYED = Path(__file__).parents[2] / "deploy" / "nats"
SERVICES = ("gateway", "presence", "documents", "hooks", "provisioner", "doctor", "inspector", "backup")

PASSWORDS = {f"NATS_{user.upper()}_PASSWORD": f"secret-of-{user}" for user in (*SERVICES, "operator", "route")}
"""The variables that NATS reads from its environment."""


def user_of(service: str) -> dict[str, str]:
    """The variables by which a service becomes its user."""
    return {"STUDYROOM_NATS_USER": service, "STUDYROOM_NATS_PASSWORD": f"secret-of-{service}"}


def options_of(user: str) -> dict[str, Any]:
    """The arguments by which `nats.connect` becomes a user."""
    return {"user": user, "password": f"secret-of-{user}", "inbox_prefix": f"_INBOX.{user}"}
