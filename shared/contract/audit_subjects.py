"""The NATS subjects of the records of erasures and exports, and the name of their stream."""

AUDIT_STREAM = "AUDIT"
AUDIT_SUBJECTS = "audit.*.*"


def audit(action: str, target: str) -> str:
    return f"audit.{action}.{target}"
