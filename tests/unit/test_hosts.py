import pytest

from studyroom.gateway.wire.hosts import host_of, is_host


@pytest.mark.parametrize(
    ("header", "host"),
    [
        ("rooms.example.org", "rooms.example.org"),
        ("ROOMS.example.org:443", "rooms.example.org"),
        ("rooms.example.org.", "rooms.example.org"),
        ("rooms.example.org.:8080", "rooms.example.org"),
        ("rooms.example.org:", "rooms.example.org"),
        ("localhost:8080", "localhost"),
        ("127.0.0.1:8080", "127.0.0.1"),
        ("[::1]:8080", "[::1]"),
        ("[::1]", "[::1]"),
        (" rooms.example.org ", "rooms.example.org"),
    ],
)
def test_the_host_is_the_name_without_its_port(header: str, host: str):
    assert host_of(header) == host


@pytest.mark.parametrize(
    "header",
    [
        "",
        ":8080",
        "rooms.example.org, evil.example",
        "evil.example@rooms.example.org",
        "rooms.example.org/evil",
        "rooms.example.org:80:80",
        "rooms..example.org",
        "[::1",
        "::1",
        "rooms.example.org:http",
    ],
)
def test_any_other_text_is_not_a_host(header: str):
    assert host_of(header) is None


@pytest.mark.parametrize("text", ["rooms.example.org", "localhost", "127.0.0.1", "[fd00::1]", "gateway_1"])
def test_settings_spell_hosts_as_browsers_do(text: str):
    assert is_host(text)
    assert host_of(text) == text


@pytest.mark.parametrize(
    "text", ["Rooms.example.org", "rooms.example.org:443", "https://rooms.example.org", "*", "::1"]
)
def test_other_spellings_are_refused(text: str):
    assert not is_host(text)
