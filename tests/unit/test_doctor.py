import json
from dataclasses import replace
from typing import Any

import pytest

from studyroom.services.doctor.assess import LAG_MAX, PENDING_MAX_BYTES, SERVICES, problems
from studyroom.services.doctor.collect import Connection, Consumer, Copy, Observation, Server, Store, Stream
from studyroom.services.doctor.report import as_json, as_text
from studyroom.services.provisioner.streams import specifications
from studyroom.shared.chassis.settings import StorageSettings
from studyroom.shared.contract import subjects

WANTED = specifications(StorageSettings(replicas=3))


GATEWAY = "16fd2706-8baf-433b-82eb-8c7fada847da"


def connection(service: str, **changes: Any) -> Connection:
    return replace(Connection(f"studyroom-{service}", service, "10.0.0.1:1", "1h", 10, 0), **changes)


def stream(name: str, config: dict[str, Any]) -> Stream:
    consumers = (Consumer("one", 0, bound=True),)
    copies = tuple(Copy(server, current=True, offline=False, lag=0) for server in ("nats-2", "nats-3"))
    messages = 0 if name in subjects.DOCUMENTS_STREAMS else 1000
    return Stream(name, config, messages, 50_000, 1000, "nats-1", clustered=True, copies=copies, consumers=consumers)


@pytest.fixture
def seen() -> Observation:
    """All is well."""
    connections = tuple(connection(service) for service in SERVICES)
    store = Store(used=10**9, reserved=6 * 10**9, limit=8 * 10**9, sync_always=True)
    servers = [
        Server("nats-1", "2.15.1", connections, store),
        *(Server(f"nats-{index}", "2.15.1", (), store) for index in (2, 3)),
    ]
    return Observation(
        servers=servers,
        streams=[stream(spec.name, dict(spec.config)) for spec in WANTED],
        now="2026-01-31T12:00:01.5Z",
        leases={GATEWAY: "2026-01-31T12:00:00.123456789Z"},
    )


def change(seen: Observation, name: str = "CHAT", **changes: Any) -> None:
    """Change a stream."""
    index = next(index for index, one in enumerate(seen.streams) if one.name == name)
    seen.streams[index] = replace(seen.streams[index], **changes)


def test_a_healthy_system_has_no_problems(seen: Observation):
    assert problems(seen, WANTED) == []
    assert as_text(seen, []).endswith("All is well.")


def test_a_server_that_does_not_answer(seen: Observation):
    del seen.servers[2]
    assert problems(seen, WANTED) == ["2 of at least 3 NATS servers answer (nats-1, nats-2)"]


def test_servers_of_different_versions(seen: Observation):
    seen.servers[2] = replace(seen.servers[2], version="2.14.0")
    assert problems(seen, WANTED) == ["NATS servers have different versions: 2.14.0, 2.15.1"]


@pytest.mark.parametrize("service", ["gateway", "provisioner"])
def test_a_service_that_is_not_there(seen: Observation, service: str):
    rest = tuple(one for one in seen.servers[0].connections if one.user != service)
    seen.servers[0] = replace(seen.servers[0], connections=rest)
    assert f"no {service} is connected" in problems(seen, WANTED)


def test_a_client_that_reads_too_slowly(seen: Observation):
    slow = connection("gateway", pending_bytes=PENDING_MAX_BYTES + 1)
    seen.servers[0] = replace(seen.servers[0], connections=(slow, *seen.servers[0].connections[1:]))
    assert problems(seen, WANTED) == ["gateway at 10.0.0.1:1 reads too slowly: 1,048,577 bytes wait for it"]


def test_shards_that_nobody_serves(seen: Observation):
    seen.unserved = [0, 1, 2, 7, 63]
    assert problems(seen, WANTED) == ["no presence replica answers for shards 0-2, 7, 63"]


def test_gateways_per_room_are_reported_and_not_judged(seen: Observation):
    assert "gateways per room: no rooms" in as_text(seen, [])
    seen.room_gateways = [1, 1, 4]
    assert problems(seen, WANTED) == []
    assert "gateways per room: 2.0 on average and 4 at most, in a sample of 3" in as_text(seen, [])


def test_a_replica_that_is_connected_and_answers_nothing(seen: Observation):
    seen.silent = ["10.0.0.1:1"]
    assert problems(seen, WANTED) == ["the presence replica at 10.0.0.1:1 is connected, but does not answer"]


def test_a_server_whose_storage_is_nearly_full(seen: Observation):
    full = Store(used=7 * 10**9, reserved=0, limit=8 * 10**9, sync_always=True)
    seen.servers[1] = replace(seen.servers[1], store=full)
    assert problems(seen, WANTED) == ["the storage of nats-2 is 88% full (7,000,000,000 of 8,000,000,000 bytes)"]
    assert "7,000,000,000 of 8,000,000,000 (88%)" in as_text(seen, [])


def test_a_server_that_acknowledges_data_before_it_is_on_disk(seen: Observation):
    seen.servers[1] = replace(seen.servers[1], store=Store(0, 0, 10**9, sync_always=False))
    (problem,) = problems(seen, WANTED)
    assert problem.startswith("nats-2 acknowledges messages before they are synced")


def test_a_server_that_does_not_report_its_storage_is_not_judged_by_it(seen: Observation):
    seen.servers = [replace(server, store=None) for server in seen.servers]
    assert problems(seen, WANTED) == []
    assert "unknown" in as_text(seen, [])


@pytest.mark.parametrize(
    ("discard", "reported"),
    [("new", ["stream CHAT is 90% full (900 of 1,000 bytes), and refuses messages when it is full"]), ("old", [])],
)
def test_a_stream_that_is_nearly_full_and_refuses_more(seen: Observation, discard: str, reported: list[str]):
    wanted = [
        replace(spec, config={**spec.config, "max_bytes": 1000, "discard": discard}) if spec.name == "CHAT" else spec
        for spec in WANTED
    ]
    chat = next(spec for spec in wanted if spec.name == "CHAT")
    change(seen, config=dict(chat.config), bytes=900)
    assert problems(seen, wanted) == reported


@pytest.mark.parametrize(
    ("now", "problem"),
    [
        ("2026-01-31T12:00:05.2Z", "has not renewed its lease for 5 s: it is dead, frozen or cut off"),
        ("2026-01-31T12:01:00.2Z", "is 60 s old and should have ended after 6 s"),
    ],
)
def test_a_lease_that_is_older_than_it_should_be(seen: Observation, now: str, problem: str):
    seen.now = now
    (found,) = problems(seen, WANTED)
    assert GATEWAY in found
    assert problem in found


def test_a_stream_that_is_missing(seen: Observation):
    seen.streams = [one for one in seen.streams if one.name != "CHAT"]
    assert problems(seen, WANTED) == ["stream CHAT does not exist"]


def test_a_stream_of_another_configuration(seen: Observation):
    chat = next(one for one in seen.streams if one.name == "CHAT")
    change(seen, config={**chat.config, "num_replicas": 1})
    assert problems(seen, WANTED) == ["stream CHAT: num_replicas is 1 and should be 3"]


def test_a_stream_without_a_leader(seen: Observation):
    change(seen, leader=None)
    assert problems(seen, WANTED) == ["stream CHAT has no leader"]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"offline": True}, "is offline"),
        ({"current": False}, "is not up to date"),
        ({"lag": LAG_MAX + 1}, "is 1,001 messages behind"),
    ],
)
def test_a_copy_that_is_not_well(seen: Observation, changes: dict[str, Any], problem: str):
    change(seen, copies=(replace(Copy("nats-2", current=True, offline=False, lag=0), **changes),))
    assert problems(seen, WANTED) == [f"stream CHAT: its copy on nats-2 {problem}"]


def test_a_consumer_that_lags(seen: Observation):
    change(seen, consumers=(Consumer("slow", LAG_MAX + 1, bound=True), Consumer("forgotten", 10**6, bound=False)))
    assert problems(seen, WANTED) == ["consumer slow of CHAT is 1,001 messages behind"]


def test_documents_without_a_service_that_reads_them(seen: Observation):
    change(seen, "DOCUMENTS", messages=3)
    (problem,) = problems(seen, WANTED)
    assert "no documents service is connected" in problem
    more = (*seen.servers[0].connections, connection("documents"))
    seen.servers[0] = replace(seen.servers[0], connections=more)
    assert problems(seen, WANTED) == []


def test_a_presence_replica_that_follows_nothing(seen: Observation):
    more = (*seen.servers[0].connections, connection("presence"))
    seen.servers[0] = replace(seen.servers[0], connections=more)
    assert set(problems(seen, WANTED)) == {
        "2 presence replicas are connected and 1 follow KV_gateways",
        "2 presence replicas are connected and 1 follow KV_presence",
    }


def test_streams_of_groups_with_their_leaders_and_of_another_number_of_groups(seen: Observation):
    grouped = specifications(StorageSettings(replicas=3, groups=2))
    seen.streams = [stream(spec.name, dict(spec.config)) for spec in grouped]
    change(seen, "CHAT_1", leader="nats-2")
    assert problems(seen, grouped) == []
    assert "leaders of the streams of groups of shards: nats-1 5, nats-2 1" in as_text(seen, [])
    change(seen, "KV_presence_0", consumers=())
    assert problems(seen, grouped) == ["no presence replica follows KV_presence_0"]
    found = problems(seen, WANTED)
    assert "streams were made with 2 groups of shards, and STUDYROOM_STORAGE_GROUPS is 1" in found
    assert "stream CHAT does not exist" in found


def test_leases_and_gateways_that_do_not_match(seen: Observation):
    seen.leases.clear()
    assert problems(seen, WANTED) == ["1 connected gateways and 0 leases: a gateway cannot renew its lease"]
    seen.leases.update(dict.fromkeys(("a", "b"), "2026-01-31T12:00:00Z"))
    assert "a gateway has died" in problems(seen, WANTED)[0]


@pytest.mark.parametrize(
    ("asked", "unseen"),
    [
        ("servers", {"servers": []}),
        ("streams", {"streams": []}),
        ("leases", {"leases": {}}),
    ],
)
def test_components_that_do_not_respond_are_not_assessed(seen: Observation, asked: str, unseen: dict[str, Any]):
    silent = replace(seen, failures={asked: "nats: timeout"}, **unseen)
    assert problems(silent, WANTED) == [f"{asked} did not answer: nats: timeout"]


def test_a_stream_that_does_not_answer_may_exist(seen: Observation):
    seen.streams = [one for one in seen.streams if one.name != "CHAT"]
    seen.failures["stream CHAT"] = "nats: timeout"
    assert problems(seen, WANTED) == ["stream CHAT did not answer: nats: timeout"]


def test_consumers_that_nats_does_not_report_may_be_followed(seen: Observation):
    seen.streams = [replace(one, consumers=()) for one in seen.streams]
    seen.failures |= {f"consumers of {stream.name}": "nats: timeout" for stream in seen.streams}
    assert problems(seen, WANTED) == [f"{asked} did not answer: nats: timeout" for asked in sorted(seen.failures)]


def test_the_screen_and_json_have_the_same_content(seen: Observation):
    found = ["stream CHAT has no leader"]
    assert "  - stream CHAT has no leader" in as_text(seen, found)
    sent = json.loads(json.dumps(as_json(seen, found)))
    assert (sent["ok"], sent["problems"]) == (False, found)
    assert [server["name"] for server in sent["servers"]] == ["nats-1", "nats-2", "nats-3"]
    assert len(as_text(seen, found).splitlines()) < 25, "it fits on one screen"
