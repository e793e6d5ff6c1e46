"""Everything that a step works with."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.kube.cluster import Cluster
from tests.kube.crowd import Crowd
from tests.kube.install import Certificates


@dataclass(frozen=True)
class Ground:
    cluster: Cluster
    crowd: Crowd
    certificates: Certificates
    earlier_services: frozenset[str]
    """Those that the version before has."""


Act = Callable[[Ground], Awaitable[str]]
"""Does something to the cluster while people chat. Returns a note for the table. Raises Failed."""
ROLL_SECONDS = 600.0
"""The longest time that a rollout may take."""
CHANGED_SECONDS = 120.0
"""The time in which a new pod must have started."""
CRASHED_SECONDS = 90.0
"""The time in which Kubernetes must have started a container again that has ended."""
CHECKED_SECONDS = 30.0
"""The time for which a rollout that cannot succeed is watched."""
