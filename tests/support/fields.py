"""The custom presence of members, as a client knows it from all that it received."""

from typing import Any

from tests.support.client import Client, Json


async def update(client: Client, **fields: Any) -> None:
    await client.send("UpdatePresence", {"fields": fields})


def shown(client: Client, user: str) -> Json | None:
    """The fields of a user; None for a user who is not there. Fails on a change that a client must never see."""
    fields: Json | None = None
    for line in client.log:
        payload = line.get("payload", {})
        match line["type"]:
            case "JoinedRoom":
                found = [one for one in payload["users"] if one["user_id"] == user]
                fields = dict(found[0].get("presence") or {}) if found else None
            case "UserJoined" | "UserUpdated" if payload["user"]["user_id"] == user:
                fields = dict(payload["user"].get("presence") or {})
            case "UserLeft" if payload["user_id"] == user:
                fields = None
            case "PresenceChanged" if payload["user_id"] == user:
                assert fields is not None, "a change of a user who is not there"
                assert payload["fields"], "a change without any difference"
                fields = {name: value for name, value in {**fields, **payload["fields"]}.items() if value is not None}
            case _:
                pass
    return fields
