"""Background tasks, as far as they need no process."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from studyroom.shared.chassis.metrics import ProcessMetrics
from studyroom.shared.chassis.tasks import Tasks


async def test_the_failures_of_a_task_are_counted_from_zero_so_that_the_first_one_is_an_increase():
    registry = CollectorRegistry()
    tasks = Tasks(ProcessMetrics(registry, "gateway"))

    def failures() -> float | None:
        return registry.get_sample_value("studyroom_gateway_task_failures_total", {"task": "lease"})

    async def fail() -> None:
        raise RuntimeError("for this test")

    assert failures() is None
    spawned = tasks.spawn("lease", fail())
    assert failures() == 0
    await asyncio.wait([spawned])
    assert failures() == 1


async def test_an_exception_in_a_callback_of_the_event_loop_is_counted_and_logged(caplog: pytest.LogCaptureFixture):
    registry = CollectorRegistry()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(ProcessMetrics(registry, "gateway").count_exception)
    called = asyncio.Event()

    def failures() -> float | None:
        return registry.get_sample_value("studyroom_gateway_task_failures_total", {"task": "callback"})

    def fail() -> None:
        called.set()
        raise RuntimeError("for this test")

    assert failures() == 0
    loop.call_soon(fail)
    await called.wait()
    assert failures() == 1
    assert "for this test" in caplog.text
