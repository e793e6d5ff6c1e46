"""The table of a million connections is the computed one."""

from benchmarks.capacity import table
from tests.support.markdown import ROOT


def test_operations_has_the_computed_table():
    operations = (ROOT / "docs" / "operations.md").read_text("utf-8")
    assert "\n".join(table()) in operations, (
        "copy the output of `python -m benchmarks.capacity` into docs/operations.md"
    )
