"""Which documents get a snapshot: those with long logs, and those that were edited and then left alone."""

import pytest
from prometheus_client import CollectorRegistry

from studyroom.services.documents.epochs import Epochs
from studyroom.services.documents.library import Library
from studyroom.services.documents.log import DocumentKey, DocumentLog
from studyroom.services.documents.metrics import DocumentsMetrics
from studyroom.services.documents.settings import DocumentsSettings
from studyroom.services.documents.snapshots import Snapshots
from studyroom.shared.chassis.metrics import BusMetrics
from studyroom.shared.chassis.nats.bus import Bus
from studyroom.shared.chassis.settings import NatsSettings
from studyroom.shared.contract.groups import Group
from studyroom.shared.contract.subjects import shard_of
from tests.support.documents import new_key


class Surveyed(Snapshots):
    """Snapshots of one document, without NATS: they are wanted only."""

    def __init__(self) -> None:
        bus = Bus(NatsSettings(), BusMetrics(CollectorRegistry()), name="test")
        log, epochs = DocumentLog(bus, Group()), Epochs(bus, Group(), lambda: None)
        metrics = DocumentsMetrics(CollectorRegistry())
        library = Library(log, epochs, cache_max_bytes=0)
        self.key = new_key()
        shards = frozenset({shard_of(self.key.room)})
        super().__init__(bus, log, library, epochs, DocumentsSettings(snapshot_updates=100), metrics, shards)

    def after(self, *counts: int) -> list[DocumentKey]:
        """The wanted documents after surveys that found so many updates; 0 for a document that is gone."""
        for count in counts:
            self.take_counts(shard_of(self.key.room), {self.key: count} if count else {})
        return list(self.wanted)


@pytest.mark.parametrize(
    ("counts", "wanted"),
    [
        ((100,), False), ((101,), True),  # long
        ((50,), False), ((50, 50), False),  # nobody has edited it since the start
        ((30, 50), False), ((30, 50, 60), False), ((30, 50, 50), True),  # edited, and then left alone
        ((2, 9, 9), False),  # too short
        ((30, 50, 0, 50), False), ((30, 50, 1, 1), False),  # purged meanwhile
    ],
)  # fmt: skip
def test_a_document_gets_a_snapshot_when_its_log_is_long_or_when_editing_has_paused(
    counts: tuple[int, ...], wanted: bool
):
    surveyed = Surveyed()
    assert surveyed.after(*counts) == ([surveyed.key] if wanted else [])
