"""When a message goes out by itself, and when it is said together with others (4.8).

Of one lane a person gets five pages in five minutes one by one on each way, then one roll-up at a time: lanes and modes are
never mixed, so that a report is not buried under crises nor a live page under drills. A roll-up acknowledges nothing. In the
same way a team gets five warnings an hour, then a digest, and a requester so many messages as the policy says, then none (HD-63).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple, Self

ONE_BY_ONE = 5
ONE_BY_ONE_WITHIN = timedelta(minutes=5)
EVERY_MINUTE = ("crisis", "mandatory_report")
"""The lanes on which a roll-up goes out each minute; on the others every five."""
WARNINGS = "sla_warning"
"""The lane of warnings to a team: a digest goes out each hour."""
REQUESTERS = "customer"
"""The lane of messages to a requester, which are not rolled up."""
LIVE = "live"
NAMED = 20
"""How many incidents a roll-up names; the others stand in the list."""


@dataclass(frozen=True, slots=True)
class Rate:
    """So many one by one within so long; then something else, at most each `every`."""

    one_by_one: int
    within: timedelta
    every: timedelta


class Stream(NamedTuple):
    """What is counted and rolled up together: one way to one recipient, one lane, drills apart."""

    recipient: str
    lane: str
    mode: str
    way: str = "email"

    @property
    def rate(self) -> Rate:
        if self.lane == WARNINGS:
            return Rate(ONE_BY_ONE, timedelta(hours=1), timedelta(hours=1))
        return Rate(ONE_BY_ONE, ONE_BY_ONE_WITHIN, timedelta(minutes=1 if self.lane in EVERY_MINUTE else 5))


@dataclass(frozen=True, slots=True)
class Pace:
    """How somebody was written to on one stream lately. `roll_up_at` is set while a roll-up waits for its time."""

    stream: Stream
    one_by_one_at: tuple[datetime, ...] = ()
    last_at: datetime | None = None
    roll_up_at: datetime | None = None

    def paged(self, now: datetime, rate: Rate | None = None) -> Self:
        """After one more message, which goes out by itself unless `roll_up_at` is set: then that roll-up says it.

        Whoever has heard nothing on this stream for as long as a roll-up may take gets theirs at once.
        """
        if self.roll_up_at is not None:
            return self
        rate = rate or self.stream.rate
        recent = tuple(at for at in self.one_by_one_at if now - at < rate.within)
        if len(recent) < rate.one_by_one:
            return replace(self, one_by_one_at=(*recent, now), last_at=now)
        return replace(self, roll_up_at=max(now, (self.last_at or now) + rate.every))

    def put_off(self, opening: datetime) -> Self:
        """After one more message that has to wait: it is said at the next opening, with what else waits (T6)."""
        return self if self.roll_up_at is not None else replace(self, roll_up_at=opening)

    def written_to(self, now: datetime, rate: Rate) -> Self:
        """After one more message to somebody who gets no roll-up; it is one too many while `roll_up_at` is to come."""
        is_over = self.roll_up_at is not None and self.roll_up_at <= now
        return (replace(self, roll_up_at=None) if is_over else self).paged(now, rate)

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
