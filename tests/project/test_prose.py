"""The linter for prose finds what it should, and our documents have none of it."""

from pathlib import Path

import pytest

from tests.project.prose import documents, problems
from tests.support.markdown import ROOT


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_document_is_in_plain_english(path: Path):
    assert list(problems(path.read_text("utf-8"))) == []


@pytest.mark.parametrize(
    "text",
    [
        "Whoever has its link can enter.",
        "Nobody waits. Who is cancelled stops, whatever it waits for.",
        "What does not hold yet is in the changelog.",
        "That is how one knows that it is stored.",
        "The client is\ntold the reason.",
        "A token is to be kept secret.",
        "A build is begun anew.",
        "How to mend it.",
        "The messages behind `since` are missing.",
        "It reconnects; it resumes; it sends the rest.",
        "Gateways put members back.",
        "A change that is not heard is lost.",
        "The room is in doubt.",
        "The leave ends the stay.",
        "A batch can be lost with no sign.",
        "It comes after ten seconds at the most.",
        "A token of another scheme is no access token.",
        "| code | | then |\n| --- | --- | --- |\n| 1 | 2 | 3 |",
    ],
)
def test_a_pattern_to_avoid_is_found(text: str):
    assert len(list(problems(text))) > 0


@pytest.mark.parametrize(
    "text",
    [
        "Who may enter?",
        "There is no leader, and a TCP check is no use. Wait at the most important place.",
        "Members stay. Put one back end on each machine. It stays there no longer.",
        "Anyone with the link can enter. Clients that reconnect resume.",
        "HAProxy is in front; the gateway is behind the load balancer.",
        "`whoever` is code, and so is\n\n```sh\necho anew; echo mend; echo one can\n```",
        "| code | meaning |\n| --- | --- |\n| 1 | 2 |",
    ],
)
def test_ordinary_sentences_and_code_pass(text: str):
    assert list(problems(text)) == []
