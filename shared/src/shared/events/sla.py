"""`support.sla.v1`: every promise on a clock (L). A person can recompute each by hand from these fields (L15)."""

from shared.events.envelope import Data, Event, Identifier, Instant
from shared.vocabulary import ClockState, Level, Milestone, Unit


class TargetData(Data):
    """How long the milestone may take."""

    amount: int
    unit: Unit


class PauseData(Data):
    """A stretch that did not count (L9, L12); an open one has no end."""

    started_at: Instant
    ended_at: Instant | None = None


class SlaEvent(Event):
    """A clock as it stands after the fact. `elapsed_share` and `threshold` are shares of the counted time, 0-1."""

    ticket_id: Identifier
    occurred_at: Instant
    emitted_at: Instant
    clauses: tuple[str, ...]
    policy_version: str
    milestone: Milestone
    cycle: int
    level: Level | None = None
    target: TargetData
    started_at: Instant
    due_at: Instant
    previous_due_at: Instant | None = None
    state: ClockState
    elapsed_share: float
    threshold: float | None = None
    pauses: tuple[PauseData, ...] = ()
    calendar: str
    short_notice: bool = False
    provisional: bool = False
    clamped: bool = False
    claimed_at: Instant | None = None
    late_by_seconds: float | None = None
    reason: str | None = None
    caused_by: str | None = None

    @property
    def key(self) -> str:
        return self.ticket_id


class SlaClockStarted(SlaEvent):
    wire_type = "com.storytailor.support.sla.clock_started.v1"


class SlaWarning(SlaEvent):
    """A threshold of the counted time has passed (L10); happened at the threshold's instant."""

    wire_type = "com.storytailor.support.sla.warning.v1"


class SlaBreached(SlaEvent):
    """Due has passed unmet; happened at due (L10)."""

    wire_type = "com.storytailor.support.sla.breached.v1"


class SlaMet(SlaEvent):
    wire_type = "com.storytailor.support.sla.met.v1"


class SlaFulfilledLate(SlaEvent):
    """Fulfilled after due; the breach stands (L13)."""

    wire_type = "com.storytailor.support.sla.fulfilled_late.v1"


class SlaPaused(SlaEvent):
    wire_type = "com.storytailor.support.sla.paused.v1"


class SlaResumed(SlaEvent):
    wire_type = "com.storytailor.support.sla.resumed.v1"


class SlaRetargeted(SlaEvent):
    wire_type = "com.storytailor.support.sla.retargeted.v1"


class SlaCancelled(SlaEvent):
    wire_type = "com.storytailor.support.sla.cancelled.v1"


class SlaCorrected(SlaEvent):
    """An emitted fact is withdrawn: `caused_by` is the id of the event that it corrects (L13)."""

    wire_type = "com.storytailor.support.sla.corrected.v1"


EVENTS: tuple[type[SlaEvent], ...] = (
    SlaClockStarted,
    SlaWarning,
    SlaBreached,
    SlaMet,
    SlaFulfilledLate,
    SlaPaused,
    SlaResumed,
    SlaRetargeted,
    SlaCancelled,
    SlaCorrected,
)
