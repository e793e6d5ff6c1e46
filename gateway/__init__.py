"""The edge: terminates WebSockets, authenticates, validates, relays. Keeps no state that cannot be rebuilt."""

from pathlib import Path

from studyroom.shared.chassis.compiled import use_compiled

NOT_COMPILED = use_compiled(Path(__file__).parents[1], Path(__file__).parent / "compiled")
"""Why the data path runs as Python; empty if it is compiled."""
DATA_PATH = "python" if NOT_COMPILED else "compiled"
