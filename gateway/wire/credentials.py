"""Finds the access token of a request, in this order, and that of a guest. Pure.

    1. `Authorization: Bearer <token>` (RFC 6750 section 2.1)
    2. `Sec-WebSocket-Protocol: studyroom, access_token.<token>`, for browsers, which can set no other header
    3. `?access_token=<token>` (RFC 6750 section 2.3)
    4. a cookie, if the settings name one

Cookies come last because browsers send them by themselves. Only the first token counts, even if it is invalid and a
later one is valid. `Authorization` with another scheme, such as `Basic` for a proxy, is ignored.

The token of a guest is in `Authorization: Guest <token>`, among the subprotocols as `guest_token.<token>`, or in
`?guest_token=<token>`. Addresses are logged, so they are for clients that can do neither.
"""

import re
from collections.abc import Mapping

from studyroom.gateway.wire.header_fields import elements

SUBPROTOCOL = "studyroom"
_TOKEN_AS_SUBPROTOCOL = "access_token."  # noqa: S105 - a prefix
_GUEST_TOKEN_AS_SUBPROTOCOL = "guest_token."  # noqa: S105 - a prefix
_GUEST = re.compile(r"guest[ \t]+", re.IGNORECASE)
_BEARER = re.compile(r"bearer(?:[ \t]+|$)", re.IGNORECASE)
_BARE_TOKEN = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)
_LATER_BEARER = re.compile(r",[ \t]*bearer(?:[ \t]|$)", re.IGNORECASE)


class Unauthorized(Exception):
    """There is no acceptable token. `str()` gives the reason, without the token."""


def access_token(query: Mapping[str, str], headers: Mapping[str, str], *, cookie: str | None) -> str | None:
    """The token; None if there is none. An empty token counts as one. Raises Unauthorized.

    `cookie`: the name of the cookie that may hold it; None to ignore cookies.
    """
    found = _in_authorization(headers)
    if found is None:
        found = _in_subprotocols(headers)
    if found is None:
        found = query.get("access_token")
    if found is None and cookie is not None:
        found = _in_cookies(headers.get("cookie", ""), cookie)
    return found


def guest_token(query: Mapping[str, str], headers: Mapping[str, str]) -> str | None:
    """The token by which a guest may be recognised; None if there is none. Raises nothing: a guest needs no token."""
    authorization = headers.get("authorization", "")
    if (scheme := _GUEST.match(authorization)) is not None:
        return authorization[scheme.end() :]
    for offer in offered_subprotocols(headers):
        if offer.startswith(_GUEST_TOKEN_AS_SUBPROTOCOL):
            return offer.removeprefix(_GUEST_TOKEN_AS_SUBPROTOCOL)
    return query.get("guest_token")


def offered_subprotocols(headers: Mapping[str, str]) -> list[str]:
    return elements(headers, "sec-websocket-protocol")


def _in_authorization(headers: Mapping[str, str]) -> str | None:
    authorization = headers.get("authorization", "")
    if (scheme := _BEARER.match(authorization)) is not None:
        return authorization[scheme.end() :]
    if _LATER_BEARER.search(authorization) is not None:
        # There are two `Authorization` headers, and the token is not in the first.
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
        # Browsers expect one of the offered subprotocols in the response, and that must not be the token.
        raise Unauthorized(f"an access token among the subprotocols needs {SUBPROTOCOL!r} as another one")
    return _only(tokens, "among the subprotocols")


def _in_cookies(header: str, name: str) -> str | None:
    pairs = (part.strip().partition("=") for part in header.split(";"))
    # Some sites empty a cookie to remove it.
    values = [value.strip('"') for key, _, value in pairs if key == name and value.strip('"')]
    return _only(values, "in cookies of the same name") if values else None


def _only(tokens: list[str], where: str) -> str:
    """Raises Unauthorized if the tokens differ. Another site of the same domain can set a cookie of the same name."""
    if len(set(tokens)) > 1:
        raise Unauthorized(f"more than one access token {where}")
    return tokens[0]
