"""What is promised for a ticket: the targets of its tier and of its subcategory, as due instants (L1, L4-L7)."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.policy.model import Clocks, Target
from shared.vocabulary import Milestone, Subcategory, Tier, Unit
from sla_monitor.domain.business_time import Calendar

_ELAPSED = (Unit.MINUTES, Unit.HOURS)
_CLAUSE_OF_UNIT = {
    Unit.MINUTES: "L2",
    Unit.HOURS: "L2",
    Unit.BUSINESS_DAYS: "L3",
    Unit.SAME_DAY: "L4",
    Unit.NEXT_BUSINESS_DAY: "L4",
}


@dataclass(frozen=True, slots=True)
class Promise:
    """One milestone of a ticket as promised when it was created; `due_at` holds as long as nothing pauses."""

    milestone: Milestone
    target: Target
    clauses: tuple[str, ...]
    length: timedelta
    """The time to be counted until due, in the unit of the target (L4: of a same-day target the time to closing)."""
    in_business_time: bool
    due_at: datetime
    short_notice: bool


def promises(
    tier: Tier | None, subcategory: Subcategory | None, created_at: datetime, policy: Clocks, calendar: Calendar
) -> tuple[Promise, ...]:
    """What is promised: per milestone the earlier due instant of tier and subcategory, computed (L7).

    A ticket without a tier is treated as free (L1). A milestone that only one of them sets stands (L7).

    Raises:
        OutsideHorizon: the calendar cannot count from `created_at`.
    """
    sources = [policy.targets[tier or Tier.FREE]]
    if subcategory in policy.overlays:
        sources.append(policy.overlays[subcategory])
    short_notice_under = timedelta(minutes=policy.short_notice_minutes)
    kept = []
    for milestone in Milestone:
        offers = [
            _promise(milestone, target, source.clause, created_at, short_notice_under, calendar)
            for source in sources
            if (target := source.of(milestone)) is not None
        ]
        if len(offers) > 1:
            earlier = min(offers, key=lambda promise: promise.due_at)
            kept.append(replace(earlier, clauses=(*earlier.clauses, "L7")))
        else:
            kept += offers
    return tuple(kept)


def _promise(
    milestone: Milestone,
    target: Target,
    clause: str,
    created_at: datetime,
    short_notice_under: timedelta,
    calendar: Calendar,
) -> Promise:
    due_at = _due(target, created_at, calendar)
    in_business_time = target.unit not in _ELAPSED
    length = calendar.measure(created_at, due_at) if in_business_time else due_at - created_at
    return Promise(
        milestone=milestone,
        target=target,
        clauses=(clause, _CLAUSE_OF_UNIT[target.unit]),
        length=length,
        in_business_time=in_business_time,
        due_at=due_at,
        short_notice=length < short_notice_under,
    )


def _due(target: Target, created_at: datetime, calendar: Calendar) -> datetime:
    """When a target ends that is counted from the ticket's creation without a pause (L2-L4)."""
    if (elapsed := target.elapsed) is not None:
        return created_at + elapsed
    if target.unit is Unit.BUSINESS_DAYS:
        return calendar.add(created_at, target.amount * calendar.nominal_day)
    return calendar.close_of_business(created_at, business_days_later=int(target.unit is Unit.NEXT_BUSINESS_DAY))
