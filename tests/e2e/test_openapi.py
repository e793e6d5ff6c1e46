"""HTTP as its own OpenAPI document describes it: requests made from the document, good ones and bad ones."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.backend import KEY, SETTINGS
from tests.support.processes import EmbeddedStack, ServiceProcess, running, service

EXAMPLES = "25"
BACKEND = ("--header", f"Authorization: Bearer {KEY}")
PATH_OF_UPDATES = r"/documents/\{name\}$"
NO_UPDATES = ("--exclude-path-regex", PATH_OF_UPDATES)
UPDATES = ("--include-path-regex", PATH_OF_UPDATES, "--exclude-checks", "positive_data_acceptance,ignored_auth")
"""No document can say which bytes are a Yjs update."""
PROGRAM = "from schemathesis.cli import schemathesis; schemathesis()"


@pytest.fixture(scope="module")
def gateway(stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """One to which backends may post."""
    directory = tmp_path_factory.mktemp("openapi")
    with running(service("gateway", directory, stack.nats_url, **SETTINGS)) as process:
        yield process


@pytest.mark.parametrize(
    "options",
    [
        # Guests may read, and not all documents can express that.
        ("--include-method", "GET", "--exclude-checks", "ignored_auth"),
        ("--include-method", "POST", *NO_UPDATES, *BACKEND),
        ("--include-method", "PUT", "--include-method", "DELETE", *NO_UPDATES, *BACKEND),
        ("--include-method", "POST", "--include-method", "PUT", "--include-method", "DELETE", *NO_UPDATES),
        (*UPDATES, *BACKEND),
    ],
    ids=["a guest reads", "a backend posts", "a backend moderates", "a stranger writes", "a backend sends updates"],
)
def test_every_answer_is_described_in_the_document(gateway: ServiceProcess, options: tuple[str, ...]):
    document = gateway.url.replace("ws://", "http://").replace("/ws", "/openapi.json")
    run = subprocess.run(
        [
            sys.executable, "-c", PROGRAM, "run", document, "--checks", "all", "--phases", "coverage,fuzzing",
            "--max-examples", EXAMPLES, "--generation-database", "none", "--suppress-health-check", "all", "--no-color",
            *options,
        ],
        check=False, capture_output=True, text=True, timeout=100,
    )  # fmt: skip

    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
    assert gateway.running
    assert "Traceback" not in gateway.output()
