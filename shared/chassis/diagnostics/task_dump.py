"""All asyncio tasks with their stacks, as text for people."""

import asyncio
import traceback
from collections import defaultdict
from collections.abc import Iterable
from types import FrameType
from typing import Any

_NAMES_MAX = 5
_DEPTH_MAX = 64
_FRAME_AND_AWAITED = (("cr_frame", "cr_await"), ("gi_frame", "gi_yieldfrom"), ("ag_frame", "ag_await"))
"""The attributes of coroutines, generators and asynchronous generators. Compiled ones have them too."""


def dump_tasks(tasks: Iterable["asyncio.Task[Any]"]) -> str:
    """Describe the tasks. Those that wait at the same place are together, the most frequent place first."""
    by_stack: dict[str, list[str]] = defaultdict(list)
    for task in tasks:
        by_stack[_stack_of(task)].append(task.get_name())
    places = sorted(by_stack.items(), key=lambda item: (-len(item[1]), item[0]))
    total = sum(len(names) for _, names in places)
    return "\n".join([f"{total} tasks at {len(places)} places\n", *(_place(names, stack) for stack, names in places)])


def _place(names: list[str], stack: str) -> str:
    different = sorted(set(names))
    more = len(different) - _NAMES_MAX
    return f"{len(names)} at: {', '.join(different[:_NAMES_MAX])}{f' and {more} more' if more > 0 else ''}\n{stack}"


def _stack_of(task: "asyncio.Task[Any]") -> str:
    """The frames of a task, from its coroutine to the place where it waits, without the values of variables."""
    frames = [(frame, frame.f_lineno) for frame in _frames(task.get_coro())]
    return "".join(traceback.StackSummary.extract(iter(frames)).format())


def _frames(awaited: object) -> list[FrameType]:
    """The frames of a coroutine and of the coroutines that it awaits, the outermost first."""
    frames: list[FrameType] = []
    while awaited is not None and len(frames) < _DEPTH_MAX:
        frame, awaited = _step_into(awaited)
        if isinstance(frame, FrameType):
            frames.append(frame)
    return frames


def _step_into(awaited: object) -> tuple[object, object]:
    """The frame of an awaited object, and the object that it awaits itself; None for what it does not have."""
    for frame, inner in _FRAME_AND_AWAITED:
        if hasattr(awaited, frame):
            return getattr(awaited, frame), getattr(awaited, inner)
    return None, None
