"""The servers that the benchmark compares Studyroom with. README.md says what each speaks on the wire."""

from .catalogue import PEERS, Dialect, Peer

__all__ = ["PEERS", "Dialect", "Peer"]
