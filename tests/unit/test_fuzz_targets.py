"""A short run of what `make fuzz` does for long, and everything it has found."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, WORDS, Target

FOUND = [
    # A header that nobody signed, whose refusal could not be written: 500, or 1011, and a traceback for each.
    ("tokens", b'{"crit":["b2\\ud800"]}'),
    ("tokens", b'{"alg":"HS256","crit":["' + b"long" * 1000 + b'"]}\n{}'),
]


def mutated(seed: bytes) -> st.SearchStrategy[bytes]:
    """The seed with something put in, somewhere, in place of something."""
    inserted = st.binary(max_size=8) | st.sampled_from([word.encode() for word in WORDS])
    places = st.tuples(st.integers(0, len(seed)), st.integers(0, 8), inserted)
    return st.lists(places, max_size=3).map(lambda changes: replaced(seed, changes))


def replaced(seed: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    for start, length, new in changes:
        seed = seed[:start] + new + seed[start + length :]
    return seed


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_arbitrary_bytes_break_no_parser_and_no_promise(target: Target):
    @settings(max_examples=150, deadline=None)
    @given(st.binary(max_size=80) | st.sampled_from(target.seeds).flatmap(mutated))
    def run(data: bytes) -> None:
        target.run(data)

    for seed in target.seeds:
        target.run(seed)
    run()


@pytest.mark.parametrize(("name", "data"), FOUND)
def test_inputs_that_fuzzing_has_found_stay_fixed(name: str, data: bytes):
    TARGETS[name].run(data)
