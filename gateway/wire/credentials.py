"""Where a request carries its access token. Pure.

    1. `Authorization: Bearer <token>`
    2. `Sec-WebSocket-Protocol: studyroom, access_token.<token>`, for browsers, whose WebSocket sets no other header
    3. `?access_token=<token>`
    4. a cookie, where the settings name one

What somebody gave for this request comes before what a browser sends by itself. Only the first that is there counts: a
bad token is not saved by a good one behind it. `Authorization` of another scheme (`Basic` of a proxy, say) is no access
token, good or bad.
"""

import re
from collections.abc import Mapping

from studyroom.gateway.wire.header_fields import elements

SUBPROTOCOL = "studyroom"
_TOKEN_AS_SUBPROTOCOL = "access_token."  # noqa: S105 - a prefix
_BEARER = re.compile(r"bearer(?:[ \t]+|$)", re.IGNORECASE)
_BARE_TOKEN = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)
_BEARER_BEHIND = re.compile(r",[ \t]*bearer(?:[ \t]|$)", re.IGNORECASE)


class Unauthorized(Exception):
    """No acceptable token. `str()` says why, without the token."""


def access_token(query: Mapping[str, str], headers: Mapping[str, str], *, cookie: str | None) -> str | None:
    """None when there is none at all; one that is empty is a bad one. Raises Unauthorized.

    `cookie`: the name of the one that may hold it.
    """
    found = _in_authorization(headers)
    if found is None:
        found = _in_subprotocols(headers)
    if found is None:
        found = query.get("access_token")
    if found is None and cookie is not None:
        found = _in_cookies(headers.get("cookie", ""), cookie)
    return found


def offered_subprotocols(headers: Mapping[str, str]) -> list[str]:
    return elements(headers, "sec-websocket-protocol")


def _in_authorization(headers: Mapping[str, str]) -> str | None:
    authorization = headers.get("authorization", "")
    if (scheme := _BEARER.match(authorization)) is not None:
        return authorization[scheme.end() :]
    if _BEARER_BEHIND.search(authorization) is not None:
        # Two lines: somebody gave a token, and somebody else something before it.
        raise Unauthorized("an access token in Authorization must be the only value there")
    if _BARE_TOKEN.fullmatch(authorization) is not None:
        raise Unauthorized("an access token in Authorization needs the scheme Bearer before it")
    return None


def _in_subprotocols(headers: Mapping[str, str]) -> str | None:
    offered = offered_subprotocols(headers)
    tokens = [offer.removeprefix(_TOKEN_AS_SUBPROTOCOL) for offer in offered if offer.startswith(_TOKEN_AS_SUBPROTOCOL)]
    if not tokens:
        return None
    if SUBPROTOCOL not in offered:
        # Answering with the token is out of the question, and browsers want one of what they offered.
        raise Unauthorized(f"an access token among the subprotocols needs {SUBPROTOCOL!r} beside it")
    return _only(tokens, "among the subprotocols")


def _in_cookies(header: str, name: str) -> str | None:
    pairs = (part.strip().partition("=") for part in header.split(";"))
    # A cookie that was emptied is one that was taken away.
    values = [value.strip('"') for key, _, value in pairs if key == name and value.strip('"')]
    return _only(values, "in cookies of the same name") if values else None


def _only(tokens: list[str], where: str) -> str:
    """Another site of the same domain can set a cookie too: rather nobody than somebody else."""
    if len(set(tokens)) > 1:
        raise Unauthorized(f"more than one access token {where}")
    return tokens[0]
