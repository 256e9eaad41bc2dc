"""The few errors that mean something to the machinery. Whatever else a handler raises is a bug of ours."""

from enum import StrEnum


class DeadLetterCode(StrEnum):
    """Why a record was set aside."""

    INVALID_JSON = "invalid_json"
    INVALID_ENVELOPE = "invalid_envelope"
    INVALID_DATA = "invalid_data"
    UNKNOWN_TYPE = "unknown_type"
    ID_CONFLICT = "id_conflict"
    TICKET_EXISTS = "ticket_exists"
    ORPHAN = "orphan"
    TOO_LARGE = "too_large"
    HANDLER_ERROR = "handler_error"


class InvalidMessage(Exception):  # noqa: N818 - it names the message, not the failure
    """The record can never be handled: it becomes a dead letter at once, with this code."""

    def __init__(self, code: DeadLetterCode) -> None:
        super().__init__(code.value)
        self.code = code


class UnknownTicket(Exception):  # noqa: N818
    """The record speaks of a ticket not seen yet: it waits 15 minutes for it, then is an orphan (L13)."""


class TransientFailure(Exception):  # noqa: N818
    """The world around us fails (database, broker, a lost race): retried with growing pauses, never dead-lettered."""


class Refusal(Exception):  # noqa: N818
    """What the policy or the state forbids; the docstring of each subclass is its sentence.

    Over HTTP it becomes a problem document with `status` and `slug`; what an event asks becomes `routing.refused`.
    """

    status = 409
    slug = "refused"
    clause: str | None = None
