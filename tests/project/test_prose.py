"""The linter for prose finds what it should, and neither documents nor code nor tests have any of it."""

from pathlib import Path

import pytest

from tests.project.prose import code, code_problems, documents, problems, problems_in, script_problems
from tests.project.script_prose import scripts_of
from tests.support.markdown import ROOT


@pytest.mark.parametrize("path", documents() + code(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_in_plain_english(path: Path):
    assert problems_in(path) == []


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


@pytest.mark.parametrize(
    "source",
    [
        '"""A module.\n\nIts doubts."""',
        'class A:\n    """A class."""\n\n    b = 1\n    """Whoever it is."""',
        'def a():\n    """Of a request."""',
        "a = 1  # begun anew",
        "# The room\n# is to be gone.\na = 1",
        'a = Field(1, description="A room that is said to be full.")',
        'log.info(f"the {room} was not heard of")',
        "def test_a_change_is_not_heard(): ...",
        "def clear(told): ...",
        "for self.heard in a: ...",
    ],
)
def test_a_pattern_to_avoid_is_found_in_code(source: str):
    assert len(list(code_problems(source))) == 1


def test_a_problem_in_code_has_its_line():
    source = '"""A module.\n\nIt is begun\nanew.\n"""\n\na = 1\n# one\n# anew\n'
    assert sorted(problem.line for problem in code_problems(source)) == [4, 9]


@pytest.mark.parametrize("source", ['a = "anew"', 'a = {"mend": whoever}', "a = 1  # noqa: E501", "def by_room(): ..."])
def test_keys_directives_and_ordinary_names_in_code_pass(source: str):
    assert list(code_problems(source)) == []


@pytest.mark.parametrize(
    "source",
    [
        "// begun anew",
        "a() // begun anew",
        "/* begun anew */",
        "/** Who connects. */",
        "/**\n * A room\n * is to be gone.\n */",
        "  // A room\n  // is to be gone.\n",
        "// biome-ignore lint/a: reason\n// begun anew",
        "const a = 'it\\'s' // begun anew",
        "<p>{/* begun anew */}</p>",
        ".a {\n  /* begun anew */\n  color: red;\n}",
    ],
)
def test_a_pattern_to_avoid_is_found_in_the_comments_of_a_script(source: str):
    assert [problem.advice for problem in script_problems(source)] != []


def test_a_problem_in_a_script_has_its_line():
    source = "const a = `\n`\n/**\n * A room.\n *\n * It is begun\n * anew.\n */\nb() // one\n// anew\n"
    assert sorted(problem.line for problem in script_problems(source)) == [7, 10]


@pytest.mark.parametrize(
    "source",
    [
        'const a = "// begun anew"',
        "const a = 'http://anew' + \"/* anew */\"",
        "const a = `\n// begun anew\n/* anew */`",
        'const a = "\\" // anew"',
        "<a>https://anew.example</a>",
        "/* the first */ anew() // the second",
        "// biome-ignore lint/a: begun anew",
        "// A room.\n// @ts-expect-error: begun anew",
    ],
)
def test_strings_code_and_directives_of_a_script_pass(source: str):
    assert list(script_problems(source)) == []


def test_only_the_scripts_of_a_page_are_read_and_keep_their_lines():
    page = '<p>// anew</p>\n<script src="/anew"></script>\n<script>\n  // anew\n</script>\n// anew\n'
    assert [problem.line for problem in script_problems(scripts_of(page))] == [4]
