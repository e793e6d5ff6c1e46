import pytest

from gateway.origins import ANY, is_allowed, is_origin

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


def test_who_is_no_page_tells_no_origin_and_may():
    assert is_allowed(None, "rooms.example.org", ())


def test_named_origins_may_beside_the_gateways_own():
    assert is_allowed(OTHER, "rooms.example.org", (OTHER,))
    assert is_allowed("https://rooms.example.org", "rooms.example.org", (OTHER,))


def test_any_origin_may_where_that_is_said():
    assert is_allowed("https://evil.example.org", "rooms.example.org", (ANY,))
    assert is_allowed("null", "rooms.example.org", (ANY,))


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
def test_anything_else_is_none(text: str):
    assert not is_origin(text)
