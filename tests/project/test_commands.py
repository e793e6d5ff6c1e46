"""Every command and example of our documents is run by a test, or has a reason here why it is not."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.project.test_documents import each_document, relative
from tests.support.markdown import ROOT, Document
from website.markdown import Block

WITHOUT_CODE = {"text", "mermaid"}
"""Blocks of these show something."""

PROGRAM = re.compile(r"(?:make|studyroom|docker|kubectl|nats|npm|npx|openssl|pip|\.venv/bin/\w+) \S")
"""A command in prose begins so."""


@dataclass(frozen=True)
class By:
    """The test that takes it out of the document and runs it."""

    test: str


@dataclass(frozen=True)
class NotRun:
    why: str
    instead: str = ""
    """The test of the same thing."""


TUTORIAL = "tests/e2e/test_tutorial.py::test_the_tutorial_ends_with_two_browsers_that_chat"
README = "tests/e2e/test_readme.py"
PROTOCOL = "tests/project/test_protocol.py"
OVER_HTTP = "tests/e2e/test_document_http.py::test_"
WEB = "tests/e2e/test_web_client.py::test_the_web_client_keeps_its_promises"
KUBERNETES = (
    "tests/project/test_kubernetes.py::test_in_production_no_secret_is_in_the_manifests_and_the_handbook_makes_each"
)
OPERATOR = (
    "tests/e2e/test_nats_operator.py::test_the_whole_system_runs_with_jwts_and_a_domain_also_after_a_restart_of_nats"
)
PACKED = f"{README}::test_the_packed_client_runs_the_example_without_react"
EXAMPLES = "tests/e2e/test_examples.py"
SIGNED = f"{README}::test_a_token_that_is_signed_as_shown_opens_only_its_room"
BODY = By(f"{PROTOCOL}::test_an_example_of_a_body_is_valid_and_whole")
UP = NotRun("the tutorial begins with it", TUTORIAL)
ALL_TESTS = NotRun("it would run itself")
CHECKS = NotRun("`make check` does it: a test would need minutes for the same")
SERVICE = NotRun(
    "tests start it with settings of their own",
    "tests/integration/test_nats_accounts.py::test_the_permissions_are_enough_for_all_that_services_do",
)
DOCTOR = NotRun(
    "it needs to know where a system is",
    "tests/e2e/test_front_door.py::test_the_doctor_finds_the_system_that_runs_here",
)
PROBE = NotRun(
    "tests have systems of their own", "tests/e2e/test_probe.py::test_a_single_pass_prints_its_steps_and_succeeds"
)
DOWNLOADS = NotRun("it downloads the servers that the benchmark compares with")
NO_NSC = NotRun("it needs `nsc`; the tests sign the same JWTs", OPERATOR)
BACKUP = (
    "tests/integration/test_backup.py::test_chat_documents_and_bans_come_back_under_connected_clients_and_members_stay"
)
NO_RELEASE = NotRun("there is no release yet")
HOOKS = "tests/e2e/test_hooks.py::"
RECEIVER = "tests/integration/test_hook_sending.py::test_the_receiver_of_the_how_to_takes_each_event_once"
KUBE_CHECK = NotRun(
    "it needs a cluster", "tests/kube/test_people.py::test_people_lose_nothing_while_their_gateway_is_killed"
)
NO_NATS = "it needs the program `nats`; the tests send the same requests"

IN_PROSE_TOO = {"README.md", "web/client/README.md", "docs/tutorial.md", "docs/protocol.md"}
"""In these documents, and in the how-tos, commands in prose count too."""

COMMANDS: dict[str, dict[str, By | NotRun]] = {
    "README.md": {
        "make up": UP,
        "make test": ALL_TESTS,
        "make docs": CHECKS,
        'make up ARGS="--gateways 2 --presence 2"': By(
            f"{README}::test_the_system_is_two_of_each_with_two_workers_for_this_machine_and_others"
        ),
        ".venv/bin/pip install websockets": By(f"{README}::test_any_websocket_client_speaks_with_a_gateway"),
        ".venv/bin/python -m websockets …": By(f"{README}::test_any_websocket_client_speaks_with_a_gateway"),
        'json: {"type":"JoinRoom" …': By(f"{README}::test_any_websocket_client_speaks_with_a_gateway"),
        "tsx: import { StudyroomClient } …": By(
            "tests/project/test_layout.py::test_the_page_in_the_readme_is_the_tested_page"
        ),
    },
    "web/client/README.md": {
        "npm install ./web/client": NotRun("the tutorial does it", TUTORIAL),
        "npm pack --workspace client": By(PACKED),
        "npm test": NotRun("a test does it with settings of its own", WEB),
        "npx vitest run --project unit": NotRun("`npm test` does it", WEB),
        "npm run check": CHECKS,
        "make schema": NotRun("it writes files; `make check` compares them"),
        "studyroom up": UP,
        "tsx: import { StudyroomClient } …": By(
            "web/client/tests/unit/readme.test.ts::the page of the README is the tested example"
        ),
        "ts: import { StudyroomClient } …": By(PACKED),
        "js: import { preload } …": NotRun("a test of the web client loads the parts like this", WEB),
        "js: import { onScopeDispose … }": NotRun(
            "Vue is not installed; the test of the store shows the contract", WEB
        ),
        "js: import { StudyroomClient } …": NotRun(
            "the page connects like this",
            "tests/e2e/test_room_page_access.py::test_where_websockets_are_blocked_the_page_works_over_http",
        ),
    },
    "docs/documents.md": {
        "js: import { WebsocketProvider } …": NotRun("tests of the web client connect like this", WEB),
        "js: import { HocuspocusProvider, …": NotRun("tests of the web client connect like this", WEB),
        "ts: import { openDocument } …": NotRun("tests of the web client open documents like this", WEB),
        'curl -H "Authorization: …': NotRun(
            "it needs a key", f"{OVER_HTTP}documents_are_listed_and_read_in_the_format_that_the_request_asks_for"
        ),
        'curl -X PUT -H "Authorization: …': NotRun("it needs a token", f"{OVER_HTTP}plain_text_creates_a_document_too"),
        "ts web/client/examples/notes.ts": By(
            "tests/e2e/test_room_page_notes.py::test_the_example_of_tiptap_writes_the_same_notes_as_the_page"
        ),
    },
    "docs/tutorial.md": {
        "make up": By(TUTORIAL),
        "mkdir my-room": By(TUTORIAL),
        "npm install --prefix my-room ./web/client": By(TUTORIAL),
        "python3 -m http.server 8000 …": By(TUTORIAL),
        "cp docs/examples/study-room.html my-room/study.html": By(TUTORIAL),
        "js: client.updatePresence …": NotRun(
            "the study room calls it like this",
            f"{EXAMPLES}::test_the_study_room_shares_its_timer_hands_and_code_and_the_timer_survives_its_author",
        ),
        "html my-room/index.html": By(TUTORIAL),
    },
    "docs/how-to/authenticate.md": {
        "make up": UP,
        "openssl rand -hex 32": By(SIGNED),
        "pip install pyjwt": By(SIGNED),
        "python: import os, time": By(SIGNED),
    },
    "docs/how-to/back-up.md": {
        "studyroom doctor": DOCTOR,
        "studyroom up": UP,
        "studyroom backup DIRECTORY": NotRun("a test has another place for it", BACKUP),
        "studyroom restore DIRECTORY": NotRun("a test has another place for it", BACKUP),
    },
    "docs/how-to/deploy.md": {
        "make up": UP,
        "studyroom up": UP,
        "docker compose up": NotRun(
            "tests give it a name and ports of their own",
            "tests/containers/test_running.py::test_all_containers_become_healthy",
        ),
        "kubectl apply -k k8s/overlays/prod": NotRun("it needs a cluster; the handbook's test renders it", KUBERNETES),
        "studyroom gateway": SERVICE,
        "studyroom presence": SERVICE,
        "studyroom provisioner": SERVICE,
        "studyroom doctor": DOCTOR,
        "studyroom probe …": PROBE,
        "make kube-check": KUBE_CHECK,
    },
    "docs/how-to/hooks.md": {
        "pip install standardwebhooks": NotRun("the tests have it", RECEIVER),
        "python: import os": By(RECEIVER),
        "export HOOKS_SECRET …": NotRun("the tests have a secret of their own", RECEIVER),
        "python3 receiver.py &": By(RECEIVER),
        "STUDYROOM_HOOKS_URL=http://127.0.0.1:9000/ …": NotRun(
            "it takes a port that others may have", f"{HOOKS}test_the_events_of_a_visit_come_in_order_and_signed"
        ),
        "studyroom hooks replay …": NotRun(
            "tests replay a time of their own",
            f"{HOOKS}test_a_replay_sends_the_events_of_a_time_and_a_room_again_with_their_ids",
        ),
        "studyroom up": UP,
    },
    "docs/how-to/python.md": {
        'pip install "./studyroom[client]"': NotRun(
            "it downloads packages",
            "tests/e2e/test_installed.py::test_the_wheel_is_one_package_that_runs_the_whole_system_with_its_page",
        ),
        "make up": UP,
        "python: import asyncio": By(f"{EXAMPLES}::test_the_program_of_the_how_to_greets_everyone"),
        "python: async def answer(client): …": By(
            f"{EXAMPLES}::test_the_coroutine_of_the_how_to_thanks_everyone_who_mentions_it"
        ),
        "python: client.update_presence …": By(f"{EXAMPLES}::test_the_calls_of_the_how_to_reach_the_others"),
        'python: client = Client("wss://study.example/ws", token=fetch_token)': By(
            f"{EXAMPLES}::test_the_calls_of_the_how_to_reach_the_others"
        ),
    },
    "docs/how-to/scale.md": {
        "docker compose up -d --scale gateway=4": NotRun(
            "tests give it a name and ports of their own",
            "tests/containers/test_failures.py::test_there_are_more_gateways_and_fewer",
        ),
        "studyroom gateway --workers 4": NotRun(
            "tests start two or three workers", "tests/e2e/test_workers.py::test_every_worker_is_a_gateway_of_its_own"
        ),
        "nginx: map $arg_room …": NotRun(
            "the tests have no nginx",
            "tests/containers/test_homes.py::test_members_of_a_room_meet_on_one_gateway_in_any_spelling",
        ),
        "yaml: - job_name: gateway": By(
            "tests/project/test_monitoring.py::test_promtool_accepts_the_targets_of_workers_that_the_how_to_shows"
        ),
    },
    "docs/protocol.md": {
        "make up": UP,
        "studyroom schema": NotRun("`make check` compares its output"),
        "pip install websockets": NotRun(
            "the README does it", f"{README}::test_any_websocket_client_speaks_with_a_gateway"
        ),
        "python: import asyncio, json, websockets": By(f"{EXAMPLES}::test_the_python_example_of_the_protocol_works"),
        "js: const socket = …": By(f"{EXAMPLES}::test_the_page_example_of_the_protocol_works"),
        "json client": By(f"{PROTOCOL}::test_an_example_of_a_client_is_valid_and_has_no_field_that_is_unknown"),
        "json server": By(f"{PROTOCOL}::test_an_example_of_the_server_is_spelled_as_it_would_send_it"),
        "json ErrorBody": BODY,
        "json RosterBody": BODY,
        "json RoomsBody": BODY,
        "json MessagesBody": BODY,
        "json NewMessage": BODY,
    },
    "docs/how-to/several-rooms.md": {
        "tsx: import { StudyroomClient } …": NotRun("tests of the client have the same calls", WEB),
    },
    "docs/versions.md": {
        "cosign verify …": NO_RELEASE,
        "gh attestation verify …": NO_RELEASE,
        "sha256sum --check SHA256SUMS": NO_RELEASE,
    },
    "docs/moderation.md": {
        "studyroom api-key backend-2026": By(f"{README}::test_a_key_that_is_made_as_shown_is_known_to_the_gateway"),
        'json: {"event": "moderation" …': NotRun(
            "it is shortened",
            "tests/e2e/test_moderation.py::test_the_log_names_each_command_with_its_moderator_user_and_outcome",
        ),
    },
    "docs/erasure.md": {
        'json: {"outcome": …': NotRun(
            "it is from a system that has ended",
            "tests/e2e/test_erasure.py::test_nothing_of_an_erased_user_is_left_anywhere_and_others_lose_nothing",
        ),
        'json: {"messages_seconds": …': NotRun(
            "it is the body of a request",
            "tests/e2e/test_retention.py::test_only_backends_may_set_read_and_remove_a_retention_and_may_repeat_that",
        ),
        "nats --user operator stream view AUDIT": NotRun(
            NO_NATS,
            "tests/e2e/test_erasure.py::test_an_erasure_that_dies_in_the_middle_is_completed_when_it_is_requested_again",
        ),
    },
    "docs/operations.md": {
        "yaml: # ConfigMap of the controller": NotRun("there is no cluster, and no ingress-nginx"),
        "kubectl create namespace studyroom": By(KUBERNETES),
        "kubectl -n studyroom create secret generic studyroom-nats …": By(KUBERNETES),
        "kubectl -n studyroom create secret generic studyroom-gateway …": By(KUBERNETES),
        "kubectl -n studyroom create secret tls …": By(KUBERNETES),
        "openssl req …": By(
            "tests/project/test_kubernetes_options.py::test_the_commands_of_the_handbook_make_certificates_for_every_server_and_client"
        ),
        "for name in gateway …": By(
            "tests/project/test_kubernetes_options.py::test_the_commands_of_the_handbook_make_certificates_for_every_server_and_client"
        ),
        "kubectl -n studyroom create job …": NotRun("it needs a cluster"),
        "helm install studyroom charts/studyroom …": NotRun(
            "it needs a cluster", "tests/project/test_chart.py::test_the_chart_is_the_overlay_of_production"
        ),
        "kubectl -n studyroom logs …": NotRun("it needs a cluster"),
        "yaml: apiVersion: networking.k8s.io/v1": NotRun("no network plugin enforces it here"),
        "kubectl create secret generic -n studyroom studyroom-admin …": NotRun("it needs a cluster"),
        "kubectl -n studyroom set env …": NotRun("it needs a cluster"),
        "kubectl -n studyroom port-forward …": NotRun("it needs a cluster"),
        "curl -s -H …": NotRun("it needs a cluster", "tests/e2e/test_diagnostics.py::test_only_the_token_opens_them"),
        "kind create cluster …": NotRun("it makes a cluster"),
        "make kube-check …": KUBE_CHECK,
        "yaml: # k8s/overlays/staging/kustomization.yaml": By(
            "tests/project/test_kubernetes_options.py::test_two_installations_in_one_cluster_share_nothing_but_priorities"
        ),
        "kubectl apply -k k8s/overlays/prod": By(KUBERNETES),
        "nsc add user …": NO_NSC,
        "nsc generate creds …": NO_NSC,
        "STUDYROOM_NATS_CREDENTIALS_FILE=gateway.creds …": NO_NSC,
        "studyroom probe …": PROBE,
        "docker compose --profile probe run …": By(
            "tests/containers/test_running.py::test_the_probe_meets_itself_through_the_load_balancer"
        ),
        "docker compose run --rm …": By("tests/containers/test_running.py::test_the_doctor_finds_nothing_wrong"),
        "STUDYROOM_NATS_USER=backup …": NotRun("a test has another place for it", BACKUP),
        "STUDYROOM_NATS_USER=operator …": NotRun("a test has another place for it", BACKUP),
        'nats --user operator --password "$PASSWORD" --server "$URL" stream purge …': NotRun(
            NO_NATS,
            "tests/integration/test_removed_chat.py::test_purged_rooms_start_again_with_the_rest_of_their_chat_and_others_do_not",
        ),
    },
    "CONTRIBUTING.md": {"make test": ALL_TESTS, "make check": CHECKS},
    "benchmarks/peers/README.md": {
        ".venv/bin/pip install --require-hashes …": DOWNLOADS,
        "npm ci --prefix benchmarks/peers/ …": DOWNLOADS,
        "apt-get install …": DOWNLOADS,
    },
}


def documented(document: Document) -> set[str]:
    """The commands of a document, and its other blocks of code: each by its language and first line."""
    name = relative(document.path)
    found = {*document.commands, *(title(block) for block in document.blocks)} - {""}
    if name in IN_PROSE_TOO or name.startswith("docs/how-to/"):
        found |= {one for one in document.quoted if PROGRAM.match(one)}
    return found


def title(block: Block) -> str:
    if block.info in WITHOUT_CODE or block.info == "sh":
        return ""
    first, _, _ = block.text.partition("\n")
    return block.info if " " in block.info else f"{block.info}: {first}"


def means(entry: str, piece: str) -> bool:
    """An entry may leave out the end."""
    start, leaves_out, _ = entry.partition(" …")
    return piece.startswith(start) if leaves_out else piece == entry


@each_document
def test_every_command_and_example_is_in_the_list_and_nothing_else(path: Path):
    entries = COMMANDS.get(relative(path), {})
    pieces = documented(Document(path))
    assert [piece for piece in pieces if not any(means(entry, piece) for entry in entries)] == []
    assert [entry for entry in entries if not any(means(entry, piece) for piece in pieces)] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_test_in_the_list_is_there_and_reads_the_document(name: str):
    for way in COMMANDS[name].values():
        test = way.test if isinstance(way, By) else way.instead
        if not test:
            continue
        file, _, sentence = test.partition("::")
        source = (ROOT / file).read_text("utf-8")
        assert (f"def {sentence}(" if file.endswith(".py") else f'test("{sentence}') in source
        if isinstance(way, By):
            assert Path(name).name in source
