"""Where code stands in Markdown: the site, the linter of the prose and the tests of the documents ask this."""

import pytest

from website.markdown import Block, blocks, lines, with_plain_fences


@pytest.mark.parametrize(
    ("text", "block"),
    [
        ("```sh\nmake up\n```", Block("sh", "make up")),
        ("```\nany\n\ntext\n```", Block("", "any\n\ntext")),
        ("````md\n```sh\n```\n````", Block("md", "```sh\n```")),
        ("~~~html index.html\n```\n~~~", Block("html index.html", "```")),
        ("1. Step\n\n   ```sh\n   ls\n   ```", Block("sh", "   ls")),
        ("```sh\n# of no end", Block("sh", "# of no end")),
    ],
)
def test_a_block_ends_where_its_own_fence_does(text: str, block: Block):
    assert blocks(text) == [block]


def test_code_within_a_line_is_prose():
    assert [line.info for line in lines("```one``` and `two`\n# Heading")] == [None, None]


def test_a_fence_keeps_its_language_alone():
    assert with_plain_fences("````html index.html\n```a b\n````\n```sh") == "````html\n```a b\n````\n```sh"
