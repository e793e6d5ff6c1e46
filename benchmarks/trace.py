"""A long text by one author, as a Yjs update: as many operations and bytes as the trace B4 of crdt-benchmarks.

The trace is the paper about Automerge as it was typed: 182,315 letters typed and 77,463 deleted, and 160 KB as a
document of Yjs (https://github.com/dmonad/crdt-benchmarks). It is not published as a package, so this one is made by an
author who types and deletes in runs, and now and then goes somewhere else in the text. A run that is written at once is
the same in the document as one that is written letter by letter. The seed is fixed.
"""

import random

from pycrdt import Doc, Text

TYPED, DELETED = 182_315, 77_463
_RUN_LETTERS, _DELETED_LETTERS = 100, 43
"""The mean lengths of runs, chosen so that the document has as many bytes as that of the trace."""
_ELSEWHERE = 0.3
"""The share of runs that begin at another place."""
_LETTERS = "abcdefghijklmnopqrstuvwxyz     "
_CLIENT = 1_000_000_007


def long_text(*, scale: float = 1.0) -> bytes:
    """Return the document. `scale`: for a shorter one, the share of the operations."""
    source = random.Random(4)
    doc: Doc[Text] = Doc(client_id=_CLIENT)
    text = doc.get("t", type=Text)
    length = place = 0
    typed, deleted = int(TYPED * scale), int(DELETED * scale)
    with doc.transaction():
        while typed or deleted:
            if source.random() < _ELSEWHERE:
                place = source.randint(0, length)
            run = "".join(source.choices(_LETTERS, k=min(typed, _length(source, _RUN_LETTERS))))
            text.insert(place, run)
            place, length, typed = place + len(run), length + len(run), typed - len(run)
            back = min(deleted, place, _length(source, _DELETED_LETTERS))
            del text[place - back : place]
            place, length, deleted = place - back, length - back, deleted - back
    return doc.get_update()


def _length(source: random.Random, mean: float) -> int:
    return 1 + int(source.expovariate(1 / mean))
