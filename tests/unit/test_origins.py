import pytest

from studyroom.gateway.edge.origins import ANY, is_allowed, is_origin, problem_of
from studyroom.gateway.settings import GatewaySettings

OTHER = "https://app.example.org"


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://rooms.example.org", "rooms.example.org"),
        ("https://rooms.example.org", "ROOMS.example.org:443"),
        ("http://rooms.example.org", "rooms.example.org:80"),
        ("http://rooms.example.org:8080", "rooms.example.org:8080"),
        ("http://[2001:db8::1]:8080", "[2001:db8::1]:8080"),
    ],
)
def test_the_gateways_own_pages_may(origin: str, host: str):
    assert is_allowed(origin, host, ())


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://evil.example.org", "rooms.example.org"),
        ("https://rooms.example.org.evil.org", "rooms.example.org"),
        ("https://evil.org/rooms.example.org", "rooms.example.org"),
        ("https://rooms.example.org@evil.org", "rooms.example.org"),
        ("http://rooms.example.org:8081", "rooms.example.org:8080"),
        ("http://rooms.example.org", "rooms.example.org:8080"),
        ("file://", "rooms.example.org"),
        ("null", "rooms.example.org"),
        ("", "rooms.example.org"),
        ("https://rooms.example.org", ""),
        ("https://rooms.example.org", "rooms.example.org:x"),
        ("https://rooms.example.org:x", "rooms.example.org"),
        ("http://localhost:5173", "rooms.example.org"),
        ("https://evil.example.org", "localhost:8080"),
        ("https://localhost.evil.org", "localhost:8080"),
    ],
)
def test_no_other_page_may(origin: str, host: str):
    assert not is_allowed(origin, host, ())
    assert not is_allowed(origin, host, (OTHER,))


def test_pages_of_this_machine_may_where_the_gateway_is_reached_as_this_machine():
    assert is_allowed("http://localhost:5173", "127.0.0.1:8080", ())
    assert is_allowed("http://127.0.0.1:5173", "localhost:8080", ())
    assert is_allowed("http://[::1]:5173", "localhost:8080", ())


def test_a_client_that_is_not_a_page_sends_no_origin_and_may():
    assert is_allowed(None, "rooms.example.org", ())


def test_named_origins_may_beside_the_gateways_own():
    assert is_allowed(OTHER, "rooms.example.org", (OTHER,))
    assert is_allowed("https://rooms.example.org", "rooms.example.org", (OTHER,))


def test_any_origin_may_where_the_setting_allows_all():
    assert is_allowed("https://evil.example.org", "rooms.example.org", (ANY,))
    assert is_allowed("null", "rooms.example.org", (ANY,))


APPS = [
    "capacitor://localhost",
    "ionic://localhost",
    "tauri://localhost",
    "https://tauri.localhost",
    "app://com.example.app",
    "file://",
    "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
    "moz-extension://3f1e5a3e-1111-4222-8333-444455556666",
    "vscode-webview://1a2b3c",
]


@pytest.mark.parametrize("origin", APPS)
def test_an_app_may_where_it_is_named_and_nowhere_else(origin: str):
    assert problem_of(origin) is None
    assert is_allowed(origin, "rooms.example.org", (origin,))
    assert not is_allowed(origin, "rooms.example.org", (OTHER, "https://*.example.org"))
    assert not is_allowed(origin, "localhost:8080", ())


@pytest.mark.parametrize("origin", ["https://a.example.org", "https://a.b-c.example.org", "HTTPS://A.example.org"])
def test_all_subdomains_may_where_the_setting_has_a_wildcard(origin: str):
    assert is_allowed(origin, "rooms.example", ("https://*.example.org",))
    assert is_allowed(f"{origin}:8443", "rooms.example", (OTHER, "https://*.example.org:8443"))


@pytest.mark.parametrize(
    "origin",
    [
        "https://example.org",
        "https://.example.org",
        "https://a..example.org",
        "http://a.example.org",
        "https://a.example.org:8443",
        "https://a.example.org.evil.org",
        "https://evil.org/.example.org",
        "https://evil.org?.example.org",
        "https://evil.org#.example.org",
        "https://evil.org:80.example.org",
        "https://u@a.example.org",
        "https://evilexample.org",
        "https://*.example.org",
        "https://a\n.example.org",
    ],
)
def test_an_origin_that_is_not_a_subdomain_may_not(origin: str):
    assert not is_allowed(origin, "rooms.example", ("https://*.example.org",))


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        ("a.example", "https://host"),
        ("https:a.example", "https://host"),
        ("null", "https://host"),
        ("https://a.example/", "https://a.example"),
        ("https://a.example/path?x#y", "https://a.example"),
        ("https://u:p@a.example", "https://a.example"),
        ("https://A.example", "https://a.example"),
        ("https://a.example:443", "https://a.example"),
        ("http://a.example:80", "http://a.example"),
        ("https://a.example:", "https://a.example"),
        ("https://a.example:08443", "no valid port"),
        ("https://a.example:70000", "no valid port"),
        ("https://a.example:x", "no valid port"),
        ("https://", "no valid host"),
        ("https://a b", "no valid host"),
        ("https://a..b", "no valid host"),
        ("wss://a.example", "http, https"),
        ("data://a", "http, https"),
        ("https://*", "https://*.example.org"),
        ("https://app-*.example.org", "https://*.example.org"),
        ("https://*.*.example.org", "https://*.example.org"),
        ("*://a.example", "http, https"),
        ("https://b\u00fccher.example", "https://xn--bcher-kva.example"),
        ("https://*.b\u00fccher.example:8443", "https://*.xn--bcher-kva.example"),
        ("https://stra\u00dfe.example", "xn--"),
        ("http://127.1", "four numbers"),
        ("http://127.0.0.01", "four numbers"),
        ("http://[0:0:0:0:0:0:0:1]:3000", "http://[::1]"),
        ("http://[::1", "no valid host"),
        ("https://*.127.0.0.1", "no subdomains"),
    ],
)
def test_an_impossible_origin_is_refused_at_the_start_and_the_right_spelling_suggested(text: str, suggestion: str):
    assert suggestion in (problem_of(text) or "")
    assert not is_origin(text)
    with pytest.raises(ValueError, match="origins") as refused:
        GatewaySettings(origins=text)
    assert suggestion in str(refused.value)


def test_origins_of_all_kinds_are_taken_at_the_start():
    named = ("https://a.example", "https://*.example.org", "https://xn--bcher-kva.example", *APPS)
    assert GatewaySettings(origins=",".join(named)).origins == named


@pytest.mark.parametrize("text", ["https://a.example", "http://a.example:8080", "http://[::1]:1"])
def test_an_origin_is_a_scheme_and_a_host(text: str):
    assert is_origin(text)


@pytest.mark.parametrize(
    "text",
    [
        "a.example",
        "https://a.example/",
        "https://a.example/path",
        "https://A.example",
        "https://a.example:443",
        "https://u@a.example",
        "ws://a.example",
        "https://",
        "https://a.example:x",
        "null",
    ],
)
def test_any_other_text_is_not_an_origin(text: str):
    assert not is_origin(text)
