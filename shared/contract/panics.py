"""Failures in calls of pycrdt. A panic in its Rust code comes as an exception that is no `Exception`."""


def is_failure(error: BaseException) -> bool:
    """Return whether a call has failed, and was not interrupted."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"
