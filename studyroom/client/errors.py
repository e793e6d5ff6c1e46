"""The errors that calls of the client raise."""

from studyroom.client.values import Failure


class StudyroomError(Exception):
    """A call has failed. `code` is stable and for programs, `str()` is for people.

    The code is that of the server (docs/protocol.md, Errors), or one of the client: `closed`, `close_called`,
    `connection_lost`, `expired`, `left`, `no_answer`, `no_token`, `not_in_room`, `server_closed`, `token_failed`.
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.code}: {failure.message}")
        self.code = failure.code
        self.failure = failure


class EventsLost(Exception):
    """A program has not taken events for so long that they were dropped. The values of the client are complete."""
