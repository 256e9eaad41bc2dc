"""When a page goes out by itself, and when it is said together with others (4.8).

Of one lane a person gets five pages in five minutes one by one on each way, then one roll-up at a time: lanes and modes are
never mixed, so that a report is not buried under crises nor a live page under drills. A roll-up acknowledges nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple, Self

ONE_BY_ONE = 5
ONE_BY_ONE_WITHIN = timedelta(minutes=5)
EVERY_MINUTE = ("crisis", "mandatory_report")
"""The lanes on which a roll-up goes out each minute; on the others every five."""
NAMED = 20
"""How many incidents a roll-up names; the others stand in the list."""


class Stream(NamedTuple):
    """What is rolled up together: one way to one person, one lane, drills apart."""

    recipient: str
    lane: str
    mode: str
    way: str = "email"

    @property
    def every(self) -> timedelta:
        return timedelta(minutes=1 if self.lane in EVERY_MINUTE else 5)


@dataclass(frozen=True, slots=True)
class Pace:
    """How a person was paged on one stream lately. `roll_up_at` is set while a roll-up waits for its time."""

    stream: Stream
    one_by_one_at: tuple[datetime, ...] = ()
    last_at: datetime | None = None
    roll_up_at: datetime | None = None

    def paged(self, now: datetime) -> Self:
        """After one more page, which goes out by itself unless `roll_up_at` is set: then that roll-up says it.

        Whoever has heard nothing on this stream for as long as a roll-up may take gets theirs at once.
        """
        if self.roll_up_at is not None:
            return self
        recent = tuple(at for at in self.one_by_one_at if now - at < ONE_BY_ONE_WITHIN)
        if len(recent) < ONE_BY_ONE:
            return replace(self, one_by_one_at=(*recent, now), last_at=now)
        return replace(self, roll_up_at=max(now, (self.last_at or now) + self.stream.every))

    def rolled_up(self, now: datetime) -> Self:
        """After the roll-up has gone out; the next page begins another one, or goes out by itself after a quiet time."""
        return replace(self, last_at=now, roll_up_at=None)


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a roll-up has to say, counted when it goes out: pages nobody has acknowledged meanwhile."""

    by_severity: Mapping[str, int]
    oldest_at: datetime
    incident_refs: Sequence[str]
    """Some of them, oldest first."""

    def facts(self, now: datetime) -> dict[str, str]:
        """As its text prints them."""
        minutes = max(0, int((now - self.oldest_at).total_seconds() // 60))
        return {
            "total": str(sum(self.by_severity.values())),
            "counts": ", ".join(f"{count} {severity}" for severity, count in sorted(self.by_severity.items())),
            "oldest": f"{minutes} min ago",
            "incidents": "\n".join(self.incident_refs[:NAMED]),
        }
