"""The version of the client protocol."""

PROTOCOL_VERSION = 1
"""Changes when clients of the version before no longer work, and not for fields and messages that are added. The rule
is in docs/versions.md."""
