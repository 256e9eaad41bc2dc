"""Telling what is planned: the events that a fold would make, byte for byte, without the fold (L10)."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache

import orjson
import structlog

from shared.events.envelope import rfc3339
from shared.events.sla import TargetData
from shared.vocabulary import ClockState, Milestone, Unit
from sla_monitor.domain.plan import Course, Deadline, Form, Plan, instant, micros, text
from sla_monitor.store import Due, SlaUnit, event_class_of

log = structlog.get_logger()

_TICKET_ID = "blank"
_BLANKS = tuple(datetime.min.replace(tzinfo=UTC, microsecond=place) for place in range(4))
"""Instants that no event has; they stand where each has its own."""


async def tell_planned(unit: SlaUnit, due: Sequence[Due]) -> tuple[list[Due], list[datetime]]:
    """Tell what is planned by now of these timers' tickets. Answers the timers that are left to a fold, and when each
    deadline told had its time."""
    plans = await unit.plans(due)
    now, emitted_at = micros(unit.now), rfc3339(unit.now)
    left: list[Due] = []
    passed: list[datetime] = []
    for one in due:
        told, emitted = [], len(unit.emitted)
        if (written := plans.get(one.ticket_id)) is not None:
            try:
                told = _tell(unit, one, Plan.from_bytes(written), now, emitted_at)
            except (ValueError, TypeError, LookupError) as error:
                log.error("plan unreadable", ticket_id=one.ticket_id, error=type(error).__name__)
                del unit.emitted[emitted:]
        if not told:
            left.append(one)
        passed += told
    return left, passed


def _tell(unit: SlaUnit, one: Due, plan: Plan, now: int, emitted_at: str) -> list[datetime]:
    """Nothing is told where nothing is planned, or where a fact has its time: that is left to a fold."""
    if plan.until is not None and plan.until <= now:
        return []
    passed = []
    for course, deadline in plan.due(now, micros(one.looks[-1]) if one.looks else None):
        at = instant(deadline.at)
        unit.emit_written(
            event_class_of(deadline.threshold),
            one.ticket_id,
            _event(one.ticket_id, course, deadline, emitted_at),
            occurred_at=at,
            seed=course.seed(one.ticket_id, deadline),
            correlation_id=plan.correlation_id,
        )
        passed.append(at)
    if passed:
        look_at = plan.next_look(now)
        unit.tickets.leave(one.ticket_id, look_at=instant(look_at) if look_at is not None else None)
    return passed


def _event(ticket_id: str, course: Course, deadline: Deadline, emitted_at: str) -> bytes:
    """The event that tells a deadline, as JSON."""
    pauses = [{"started_at": began_at, "ended_at": ended_at} for began_at, ended_at in course.pauses]
    own = text(instant(deadline.at)), emitted_at, course.started_at, course.due_at
    form = _form(Form(*course.form), deadline.threshold, deadline.elapsed_share)
    return (form % (orjson.dumps(ticket_id).decode(), *own, orjson.dumps(pauses).decode())).encode()


@lru_cache(maxsize=10_000)
def _form(form: Form, threshold: float | None, elapsed_share: float) -> str:
    """The JSON of such an event, with places for what is its own."""
    event = event_class_of(threshold)(
        ticket_id=_TICKET_ID,
        occurred_at=_BLANKS[0],
        emitted_at=_BLANKS[1],
        clauses=(*form.clauses.split(), "L10"),
        policy_version=form.policy_version,
        milestone=Milestone(form.milestone),
        cycle=form.cycle,
        level=form.level,
        target=TargetData(amount=form.amount, unit=Unit(form.unit)),
        started_at=_BLANKS[2],
        due_at=_BLANKS[3],
        state=ClockState.BREACHED if threshold is None else ClockState.RUNNING,
        elapsed_share=elapsed_share,
        threshold=threshold,
        calendar=form.calendar,
        short_notice=form.short_notice,
        provisional=form.provisional,
        reason=form.reason,
    )
    written = event.__pydantic_serializer__.to_json(event).decode().replace("%", "%%")
    for blank in (f'"{_TICKET_ID}"', *map(rfc3339, _BLANKS)):
        written = written.replace(blank, "%s")
    return written.replace('"pauses":[]', '"pauses":%s')
