from collections.abc import Iterator

import pytest

from tests.support.compose import Project, need


@pytest.fixture(scope="package")
def project() -> Iterator[Project]:
    """The whole system in containers. Tests share it, and leave it as they found it."""
    need("docker", "info")
    need("docker", "compose", "version")
    running = Project.new()
    try:
        running.build()
        running.up()
        yield running
    finally:
        running.down()
