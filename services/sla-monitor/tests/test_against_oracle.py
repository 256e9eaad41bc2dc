"""The clocks against a second implementation that was written from the policy's text alone, by counting and walking (L1-L16).

`clock_oracle` knows nothing of this service. Random tickets come from `random_tickets`: every fact, in every time zone, around
clock changes, holidays, due instants and window edges, retargeted, reopened, raised and cried on.
"""

import os
from datetime import date, datetime, timedelta
from functools import lru_cache
from random import Random

import clock_oracle as oracle
import pytest
from random_tickets import random_case, random_world

from shared.policy.business_time import Calendar, compile_calendar
from shared.policy.load import load_policy
from shared.policy.model import CalendarPolicy, Clocks, Target, Targets
from shared.vocabulary import Category, ClockState, Level, Subcategory, Team, Tier
from sla_monitor.domain.clock import Decided, Fact, FactKind, Turn, care_of, fold
from sla_monitor.domain.targets import Rules
from sla_monitor.domain.ticket import Ticket

CASES = int(os.environ.get("SUPPORT_TEST_CASES", "300"))
TICKETS_A_WORLD = 8
"""Compiling a calendar takes longer than a ticket."""
POLICY = load_policy()
KINDS = {
    oracle.Acknowledged: FactKind.ACKNOWLEDGED,
    oracle.Replied: FactKind.REPLIED,
    oracle.Resolved: FactKind.RESOLVED,
    oracle.Waiting: FactKind.WAITING,
    oracle.Continued: FactKind.CONTINUED,
    oracle.CustomerWrote: FactKind.CUSTOMER_WROTE,
    oracle.Reopened: FactKind.REOPENED,
    oracle.Closed: FactKind.CLOSED,
    oracle.Restricted: FactKind.RESTRICTED,
}


def calendar_of(rules: oracle.Rules, about: date) -> Calendar:
    def windows(hours) -> list[dict]:
        return [{"opens": opens, "closes": closes} for opens, closes in sorted(hours)]

    policy = CalendarPolicy.model_validate(
        {
            "id": "random",
            "zone": rules.zone,
            "nominal_day_minutes": int(rules.nominal_day.total_seconds() // 60),
            "opening_hours": {day: windows(hours) for day, hours in rules.opening_hours.items()},
            "closed_days": dict.fromkeys(rules.closed_days, "closed"),
            "special_days": {day: windows(hours) for day, hours in rules.special_days.items()},
        }
    )
    return compile_calendar(policy, {}, range((about - timedelta(days=7)).year, about.year + 2))


def rules_of(rules: oracle.Rules, about: date) -> Rules:
    def targets(given: dict[str, oracle.Target]) -> dict[str, Target]:
        return {milestone: Target(amount=one.amount, unit=one.unit) for milestone, one in given.items()}

    clocks: Clocks = POLICY.clocks.model_copy(
        update={
            "targets": {tier: Targets(**targets(rules.targets.get(tier.value, {}))) for tier in Tier},
            "overlays": {Subcategory(word): Targets(**targets(given)) for word, given in rules.overlays.items()},
            "grace_share": rules.grace_share,
            "reopen_within_days": rules.reopen_within.days,
        }
    )
    return Rules("random", clocks, calendar_of(rules, about))


def fact_of(fact: oracle.Fact) -> Fact:
    if isinstance(fact, oracle.TierChanged):
        return Fact(fact.at, FactKind.TIER_CHANGED, fact.id, tier=Tier(fact.tier))
    if isinstance(fact, oracle.Routed):
        subcategory = Subcategory(fact.subcategory) if fact.subcategory else None
        category = Category(fact.category) if fact.category else None
        care = care_of(category, subcategory, Team(fact.team), Team(fact.owning_team))
        tier = Tier(fact.tier) if fact.tier else None
        decided = Decided(care, subcategory, Level(fact.level), tier, fact.rise)
        return Fact(fact.at, FactKind.ROUTED, fact.id, decided=decided)
    reason = fact.reason if isinstance(fact, oracle.Closed) else None
    return Fact(fact.at, KINDS[type(fact)], fact.id, reason=reason)


def ours(created_at, facts, rules: Rules, now) -> dict[tuple[str, int], oracle.Outcome]:
    """What became of the clocks by the service, in the order in which the facts come."""
    ticket = Ticket("T-1", "c-1")
    for fact in map(fact_of, facts):
        if fact.kind is FactKind.ROUTED and not ticket.is_routed():
            ticket.start(fact, created_at=created_at, rules=rules)
        else:
            ticket.add(fact)
    if ticket.terms is None or ticket.terms.decided_at > now:
        return {}
    found: dict[tuple[str, int], oracle.Outcome] = {}
    breached: dict[tuple[str, int], datetime | None] = {}
    for change in fold(ticket.terms, ticket.facts, now, {rules.key: rules}):
        clock = change.clock
        milestone = clock.promise.milestone.value
        if change.turn is Turn.BREACHED:
            breached[milestone, clock.cycle] = change.at
        elif change.turn is Turn.RESUMED:
            breached.setdefault((milestone, clock.cycle), breached.get((milestone, clock.cycle - 1)))
        found[milestone, clock.cycle] = oracle.Outcome(
            clock.started_at,
            clock.due_at,
            clock.state.value,
            clock.ended_at,
            clock.reason,
            int(clock.level) if clock.level is not None else None,
            breached.get((milestone, clock.cycle)) if clock.state is ClockState.BREACHED else None,
        )
    return found


@lru_cache(maxsize=1)
def compiled_world(seed: int) -> Rules:
    day, rules = random_world(seed)
    return rules_of(rules, day)


def case_of(seed: int) -> tuple[datetime, list, oracle.Rules, Rules, datetime]:
    """Creation, facts in the order in which they come, the rules of both, now."""
    world = seed // TICKETS_A_WORLD
    day, rules = random_world(world)
    created_at, facts, now = random_case(Random(seed), day, rules)
    return created_at, facts, rules, compiled_world(world), now


def disagreement(seed: int) -> str | None:
    """What differs for one random ticket."""
    created_at, facts, rules, compiled, now = case_of(seed)
    expected = oracle.outcomes(created_at, facts, rules, now)
    found = ours(created_at, facts, compiled, now)
    if expected == found:
        return None
    lines = [f"seed {seed}: created {created_at}, now {now}, {rules}"]
    lines += map(str, sorted(facts, key=lambda fact: (fact.at, oracle.ORDER.index(type(fact)), fact.id)))
    for key in sorted(expected.keys() | found.keys()):
        if expected.get(key) != found.get(key):
            lines += [f"{key}:", f"   oracle {expected.get(key)}", f"   ours   {found.get(key)}"]
    return "\n".join(lines)


@pytest.mark.parametrize("part", range(4))
def test_a_second_implementation_agrees_on_random_tickets(part: int) -> None:
    """(L1-L16)"""
    for seed in range(part * CASES // 4, (part + 1) * CASES // 4):
        found = disagreement(seed)
        assert found is None, found
