"""The four tracks of an incident, each of which goes its own way: handling, report, guardian, intervention (S3, S4)."""

from enum import IntEnum, StrEnum


class Handling(StrEnum):
    """Where the people are with it; worse news, a lapsed acknowledgement and reopening lead back to paging (S4)."""

    PAGING = "paging"
    ACKNOWLEDGED = "acknowledged"
    COORDINATING = "coordinating"
    FOLLOW_UP = "follow_up"
    CLOSED = "closed"


class ReportTrack(IntEnum):
    """Where a mandatory report stands; it only moves on (S3). A failed attempt is counted and is no state."""

    NOT_REQUIRED = 0
    REQUIRED = 1
    GENERATED = 2
    SUBMITTED = 3
    ACCEPTED = 4

    @property
    def word(self) -> str:
        return self.name.lower()


class InterventionTrack(IntEnum):
    """Where help for a person in danger stands; what has been started is not done (S3)."""

    NONE = 0
    STARTED = 1
    HANDED_OFF = 2
    CONFIRMED = 3

    @property
    def word(self) -> str:
        return self.name.lower()


class GuardianContact(IntEnum):
    """Whether a guardian may be told; the most restrictive word stands, and no word is `unknown` (S5)."""

    ALLOWED = 0
    UNKNOWN = 1
    PROHIBITED = 2


class GuardianTrack(StrEnum):
    """Whether a guardian is told. Held, where nobody has said expressly that they may be (S5)."""

    NONE = "none"
    HELD = "held"
    PLANNED = "planned"
    SENT = "sent"
    CONFIRMED = "confirmed"
    SUPPRESSED = "suppressed"
