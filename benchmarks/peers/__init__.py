"""The servers that the benchmark compares Studyroom with. README.md describes the wire protocol of each."""

from .catalogue import COLLECTING, LIMIT, PEERS
from .compiled import LimitPeer
from .documents import DOCUMENT_PEERS
from .peer import Dialect, NotBuilt, Peer

__all__ = ["COLLECTING", "DOCUMENT_PEERS", "LIMIT", "PEERS", "Dialect", "LimitPeer", "NotBuilt", "Peer"]
