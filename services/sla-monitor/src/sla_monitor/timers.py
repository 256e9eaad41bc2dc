"""What happens without a message: thresholds, due times, and tickets that nobody has routed (L10, L16).

The time of the next look is a row, never in memory: after a downtime everything overdue is found, with its true time. A
watchdog sees to it that what is due is told, and the machine's clock is not believed when it jumps far ahead.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import structlog
from prometheus_client import Counter, Gauge, Histogram

from shared.events.topics import Lane
from shared.messaging.unit_of_work import UnitsOfWork
from shared.runtime.now import Monotonic, Now
from sla_monitor.domain.clock import Turn
from sla_monitor.domain.notices import Notice
from sla_monitor.handlers import settle
from sla_monitor.handlers.planned import tell_planned
from sla_monitor.store import Due, SlaUnit, Timers

LOOKS_AT_ONCE = 500
LOOK_AGAIN_AFTER = timedelta(minutes=1)
"""When a ticket is looked at again whose look failed; the others do not wait for it."""
BOUND_EVERY_SECONDS = 1.0
BOUND_BEHIND = timedelta(minutes=2)
"""Nothing is armed so far in the past but by a transaction as old, or on a machine whose clock is as wrong."""
SWEEP_EVERY_SECONDS = 60.0
JUMP_SECONDS = 5.0
"""Clocks drift and are corrected by less."""
LEAP_SECONDS = 300.0
LEAP_HOLDS_SECONDS = 60.0
STUCK_SECONDS = 60.0

LATENESS = Histogram(
    "support_sla_deadline_lateness_seconds",
    "Time from a threshold or due time to its event.",
    buckets=(0.1, 0.25, 0.5, 1, 2, 5, 10, 60, 300, 1800, 7200),
)
FAILED = Counter("support_sla_looks_failed_total", "Looks at a ticket that failed and were put off; each is a bug.")
SWEPT = Counter("support_sla_swept_total", "Timers that only the sweep found; 0 unless a transaction is minutes old.")
JUMPS = Counter("support_sla_clock_jumps_total", "Jumps of the machine's clock by more than 5 s.", ["direction"])
OLDEST = Gauge("support_sla_oldest_due_seconds", "For how long the oldest timer has been due; 0 if none is.")
PUT_OFF = Gauge("support_sla_put_off_tickets", "Tickets whose last look failed.")

log = structlog.get_logger()


async def look_at_what_is_due(
    units: UnitsOfWork[SlaUnit], *, lanes: Iterable[Lane] = Lane, low: Mapping[Lane, datetime] | None = None
) -> list[Due]:
    """Tell what time alone has changed. Answers the timers that were due; replicas share the work by row locks."""
    async with units.begin() as unit:
        due = await unit.due(LOOKS_AT_ONCE, lanes=lanes, low=low)
        left, passed = await tell_planned(unit, due)
        for at in passed:
            LATENESS.observe((unit.now - at).total_seconds())
        tickets, unreadable = await unit.take(left)
        for ticket_id in unreadable:
            _put_off(ticket_id, unit, "unreadable")
        for ticket in tickets:
            told = len(unit.emitted)
            try:
                notices = settle(ticket, unit)
            except Exception as error:
                del unit.emitted[told:]
                _put_off(ticket.ticket_id, unit, type(error).__name__)
            else:
                _observe(notices, unit)
    return due


def _put_off(ticket_id: str, unit: SlaUnit, error: str) -> None:
    log.error("look failed", ticket_id=ticket_id, error=error)
    FAILED.inc()
    unit.tickets.put_off(ticket_id, look_at=unit.now + LOOK_AGAIN_AFTER)


def _observe(notices: Sequence[Notice], unit: SlaUnit) -> None:
    for notice in notices:
        if notice.turn in (Turn.WARNING, Turn.BREACHED):
            LATENESS.observe((unit.now - notice.at).total_seconds())


class MachineClock:
    """Whether the machine's clock goes as time does. After a leap ahead it is not believed for a minute."""

    def __init__(self) -> None:
        self._last: tuple[datetime, float] | None = None
        self._leap = 0.0
        self._held_until: float | None = None

    def read(self, now: datetime, elapsed: float) -> float:
        """Compare the clock with the seconds that have passed; answers by how much it has jumped, 0 if it has not."""
        before, self._last = self._last, (now, elapsed)
        if before is None:
            return 0.0
        jump = (now - before[0]).total_seconds() - (elapsed - before[1])
        if abs(jump) <= JUMP_SECONDS:
            return 0.0
        JUMPS.labels("forwards" if jump > 0 else "backwards").inc()
        log.error("the machine's clock has jumped", seconds=round(jump, 3))
        if jump > LEAP_SECONDS:
            self._leap, self._held_until = jump, elapsed + LEAP_HOLDS_SECONDS
        elif jump < 0:
            self._held_until = None
        return jump

    def is_held(self, elapsed: float) -> bool:
        """Whether ordinary looks wait: better a minute late than an hour early."""
        return self._held_until is not None and elapsed < self._held_until

    def why_held(self, elapsed: float) -> str | None:
        if self.is_held(elapsed):
            return (
                f"the machine's clock leapt {self._leap:.0f} s ahead: ordinary deadlines wait a minute, safety does not"
            )
        return None


class Deadlines:
    """Looks for what is due, again and again; one for a process.

    A look reads the timers from a bound on, below which nothing is open. Every minute a sweep reads them all.
    """

    def __init__(self, units: UnitsOfWork[SlaUnit], *, monotonic: Monotonic) -> None:
        self._units = units
        self._monotonic = monotonic
        self._clock = MachineClock()
        self._low: dict[Lane, datetime] = {}
        self._bound_at = float("-inf")
        self._swept_at = float("-inf")

    async def look(self) -> bool:
        """One look. Answers whether there may be more."""
        elapsed = self._monotonic()
        if self._clock.read(self._units.now(), elapsed) < 0:
            self._low.clear()
        lanes = [Lane.URGENT] if self._clock.is_held(elapsed) else list(Lane)
        sweeps = not self._low or elapsed - self._swept_at >= SWEEP_EVERY_SECONDS
        due = await look_at_what_is_due(self._units, lanes=lanes, low=None if sweeps else self._low)
        if sweeps:
            self._count_swept(due)
            self._swept_at = elapsed
        if elapsed - self._bound_at >= BOUND_EVERY_SECONDS:
            await self._set_bounds()
            self._bound_at = elapsed
        return len(due) >= LOOKS_AT_ONCE

    def is_held(self) -> bool:
        return self._clock.is_held(self._monotonic())

    def why_held(self) -> str | None:
        return self._clock.why_held(self._monotonic())

    def _count_swept(self, due: Sequence[Due]) -> None:
        found = [one for one in due if one.lane in self._low and one.look_at < self._low[one.lane]]
        if found:
            SWEPT.inc(len(found))
            log.warning("timers below the bound", count=len(found), ticket_id=found[0].ticket_id)

    async def _set_bounds(self) -> None:
        """Below the earliest timer nothing is open, and below two minutes ago nothing is armed."""
        async with self._units.begin() as unit:
            for lane in Lane:
                earliest = await unit.oldest(lane, self._low.get(lane))
                behind = unit.now - BOUND_BEHIND
                self._low[lane] = behind if earliest is None else min(behind, earliest.look_at)


class Watchdog:
    """Sees to it that what is due is told, whoever looks: the same timer must not stay the earliest for more than a minute.

    It reads the timers by itself, so that it also notices a look that hangs, and one that another replica never ends.
    """

    def __init__(self, timers: Timers, *, now: Now, monotonic: Monotonic, is_held: Callable[[], bool]) -> None:
        self._timers = timers
        self._now = now
        self._monotonic = monotonic
        self._is_held = is_held
        self._watched: dict[Lane, tuple[Due, float]] = {}
        self._stuck: str | None = None
        self._put_off = 0

    async def look(self) -> bool:
        """Read the timers once; there is never more."""
        oldest, self._put_off = await self._timers.read()
        now, elapsed = self._now(), self._monotonic()
        overdue = [one for one in oldest.values() if one is not None and one.look_at <= now]
        OLDEST.set(max(((now - one.look_at).total_seconds() for one in overdue), default=0.0))
        PUT_OFF.set(self._put_off)
        stuck = [one for one in overdue if self._is_stuck(one, now, elapsed)]
        self._watched = {one.lane: self._watched[one.lane] for one in overdue}
        self._tell(stuck, now)
        return False

    def failing(self) -> str | None:
        """Why deadlines are not told."""
        return self._stuck

    def unwell(self) -> str | None:
        """Which tickets are not looked at although the others are."""
        return f"{self._put_off} tickets cannot be looked at, see `look failed` in the log" if self._put_off else None

    def _is_stuck(self, one: Due, now: datetime, elapsed: float) -> bool:
        known = self._watched.get(one.lane)
        is_waiting = one.lane is not Lane.URGENT and self._is_held()
        if known is None or known[0] != one or is_waiting:
            known = self._watched[one.lane] = one, elapsed
        return min((now - one.look_at).total_seconds(), elapsed - known[1]) > STUCK_SECONDS

    def _tell(self, stuck: Sequence[Due], now: datetime) -> None:
        before = self._stuck
        if stuck:
            first = min(stuck, key=lambda one: one.look_at)
            seconds = (now - first.look_at).total_seconds()
            self._stuck = f"nothing is told: a deadline has been due for {seconds:.0f} s"
            log.error("deadlines are stuck", ticket_id=first.ticket_id, lane=first.lane.name.lower(), seconds=seconds)
        else:
            self._stuck = None
            if before is not None:
                log.info("deadlines are told again")
