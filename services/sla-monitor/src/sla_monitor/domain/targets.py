"""What is promised for a ticket: the targets of its tier and of its subcategory, as due instants (L1, L4-L7)."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from operator import itemgetter
from typing import NamedTuple

from shared.policy.business_time import Calendar
from shared.policy.model import Clocks, Policy, Target, Targets
from shared.vocabulary import Milestone, Subcategory, Tier, Unit

_CLAUSE_OF_UNIT = {
    Unit.MINUTES: "L2",
    Unit.HOURS: "L2",
    Unit.BUSINESS_DAYS: "L3",
    Unit.SAME_DAY: "L4",
    Unit.NEXT_BUSINESS_DAY: "L4",
}


RulesKey = tuple[str, str]
"""The version of a policy, and the name of a calendar."""


class Offer(NamedTuple):
    """A target as a tier or a subcategory sets it, ready to be counted from any instant."""

    target: Target
    clauses: tuple[str, ...]
    elapsed: timedelta | None
    """The length of a target that elapses day and night (L2)."""
    in_opening_hours: timedelta | None
    """The length of a target in business days; neither: it ends at closing time (L3, L4)."""

    @classmethod
    def of(cls, target: Target, clause: str, calendar: Calendar) -> "Offer":
        days = target.amount * calendar.nominal_day if target.unit is Unit.BUSINESS_DAYS else None
        return cls(target, (clause, _CLAUSE_OF_UNIT[target.unit]), target.elapsed, days)


class Rules:
    """What clocks are judged by: the numbers of a policy and its calendar, compiled. A clock keeps its own (L11)."""

    def __init__(self, policy_version: str, clocks: Clocks, calendar: Calendar) -> None:
        self.policy_version = policy_version
        self.clocks = clocks
        self.calendar = calendar
        self.short_notice = timedelta(minutes=clocks.short_notice_minutes)
        self._offers: dict[tuple[Milestone, Tier | None, Subcategory | None], tuple[Offer, ...]] = {}

    @classmethod
    def of(cls, policy: Policy, calendar: Calendar) -> "Rules":
        return cls(policy.version, policy.clocks, calendar)

    @property
    def key(self) -> RulesKey:
        return self.policy_version, self.calendar.name

    def __repr__(self) -> str:
        return f"Rules{self.key}"

    def targets_of(self, tier: Tier | None, subcategory: Subcategory | None) -> Iterator[Targets]:
        """Those of the tier and those of the subcategory. A ticket without a tier is treated as free (L1)."""
        yield self.clocks.targets[tier or Tier.FREE]
        if subcategory in self.clocks.overlays:
            yield self.clocks.overlays[subcategory]

    def offers(self, milestone: Milestone, tier: Tier | None, subcategory: Subcategory | None) -> tuple[Offer, ...]:
        """What is promised there."""
        asked = milestone, tier, subcategory
        if (known := self._offers.get(asked)) is None:
            known = self._offers[asked] = tuple(
                Offer.of(target, source.clause, self.calendar)
                for source in self.targets_of(tier, subcategory)
                if (target := source.of(milestone)) is not None
            )
        return known

    def promises(self, milestone: Milestone, tier: Tier | None, subcategory: Subcategory | None) -> bool:
        """Whether anything is promised there."""
        return bool(self.offers(milestone, tier, subcategory))


class Promise(NamedTuple):
    """One milestone of a ticket as promised when its clock starts; `due_at` holds as long as nothing pauses."""

    milestone: Milestone
    target: Target
    clauses: tuple[str, ...]
    length: timedelta
    """The time to be counted until due, in the unit of the target (L4: of a same-day target the time to closing)."""
    in_business_time: bool
    due_at: datetime
    short_notice: bool


def promise(
    milestone: Milestone, tier: Tier | None, subcategory: Subcategory | None, started_at: datetime, rules: Rules
) -> Promise | None:
    """What is promised from `started_at` on: the earlier due instant of tier and subcategory, computed (L7).

    What only one of them sets stands (L7).

    Raises:
        OutsideHorizon: the calendar cannot count from `started_at`.
    """
    offers = rules.offers(milestone, tier, subcategory)
    if not offers:
        return None
    due_at, offer = min([(_due(offer, started_at, rules.calendar), offer) for offer in offers], key=itemgetter(0))
    length = offer.elapsed or offer.in_opening_hours  # what was added need not be measured
    if length is None:
        length = rules.calendar.measure(started_at, due_at)
    return Promise(
        milestone,
        offer.target,
        offer.clauses if len(offers) == 1 else (*offer.clauses, "L7"),
        length,
        offer.elapsed is None,
        due_at,
        length < rules.short_notice,
    )


def grace_ends(target: Target, at: datetime, rules: Rules) -> datetime:
    """Until when a promise that was tightened at `at` is not due: a share of the new target, in its unit (L11)."""
    share = rules.clocks.grace_share
    if (elapsed := target.elapsed) is not None:
        return at + share * elapsed
    days = target.amount if target.unit is Unit.BUSINESS_DAYS else 1
    return rules.calendar.add(at, share * days * rules.calendar.nominal_day)


def answered_within(subcategory: Subcategory | None, rules: Rules) -> timedelta:
    """How soon a subcategory by itself wants its first answer, elapsed; without a promise of its own it does not (L6)."""
    own = rules.clocks.overlays.get(subcategory) if subcategory else None
    target = own.initial_response if own else None
    return (target.elapsed if target else None) or timedelta.max


def _due(offer: Offer, started_at: datetime, calendar: Calendar) -> datetime:
    """When a target ends that is counted from the clock's start without a pause (L2-L4)."""
    if offer.elapsed is not None:
        return started_at + offer.elapsed
    if offer.in_opening_hours is not None:
        return calendar.add(started_at, offer.in_opening_hours)
    is_next = offer.target.unit is Unit.NEXT_BUSINESS_DAY
    return calendar.close_of_business(started_at, business_days_later=int(is_next))
