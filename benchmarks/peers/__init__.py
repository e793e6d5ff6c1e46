"""The servers that the benchmark compares Studyroom with. README.md describes the wire protocol of each."""

from .catalogue import PEERS, Dialect, Peer

__all__ = ["PEERS", "Dialect", "Peer"]
