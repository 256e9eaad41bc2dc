"""The clocks against a second implementation that was written from the policy's text alone, by counting and walking (L1-L16).

`clock_oracle` knows nothing of this service. Random tickets come from `random_tickets`: every fact, in every zone of their list,
around clock changes, holidays, due instants and window edges, retargeted, reopened, raised and cried on.
"""

import os
from dataclasses import replace
from datetime import date, datetime
from random import Random

import clock_oracle as oracle
import pytest
from random_tickets import random_case

from shared.policy.model import CalendarPolicy, Clocks, Policy, Target
from shared.vocabulary import Category, ClockState, Level, Subcategory, Team, Tier
from sla_monitor.domain.business_time import Calendar, compile_calendar
from sla_monitor.domain.clock import Decided, Fact, FactKind, Turn, care_of, fold
from sla_monitor.domain.targets import Rules
from sla_monitor.domain.ticket import Ticket

CASES = int(os.environ.get("SUPPORT_TEST_CASES", "300"))
"""Window edges inside a clock change are for the tests of business time: there the two read local times differently."""
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
    return compile_calendar(policy, {}, range(about.year - 1, about.year + 2))


def rules_of(rules: oracle.Rules, policy: Policy, about: date) -> Rules:
    def targets(given: dict[str, oracle.Target]) -> dict[str, Target]:
        return {milestone: Target(amount=one.amount, unit=one.unit) for milestone, one in given.items()}

    clocks: Clocks = policy.clocks.model_copy(
        update={
            "targets": {
                tier: type(policy.clocks.targets[tier])(**targets(rules.targets.get(tier.value, {}))) for tier in Tier
            },
            "overlays": {
                Subcategory(word): type(policy.clocks.targets[Tier.FREE])(**targets(given))
                for word, given in rules.overlays.items()
            },
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


def disagreement(seed: int, policy: Policy, **switches: float) -> str | None:
    """What differs for one random ticket."""
    created_at, facts, rules, now = random_case(Random(seed), **switches)
    facts = [replace(fact, at=max(fact.at, created_at)) for fact in facts]
    expected = oracle.outcomes(created_at, facts, rules, now)
    found = ours(created_at, facts, rules_of(rules, policy, created_at.date()), now)
    if expected == found:
        return None
    lines = [f"seed {seed} {switches}: created {created_at}, now {now}, {rules}"]
    lines += map(str, sorted(facts, key=lambda fact: (fact.at, oracle.ORDER.index(type(fact)), fact.id)))
    for key in sorted(expected.keys() | found.keys()):
        if expected.get(key) != found.get(key):
            lines += [f"{key}:", f"   oracle {expected.get(key)}", f"   ours   {found.get(key)}"]
    return "\n".join(lines)


@pytest.mark.parametrize("part", range(4))
def test_a_second_implementation_agrees_on_random_tickets(part: int, policy: Policy) -> None:
    """(L1-L16)"""
    for seed in range(part, CASES, 4):
        found = disagreement(seed, policy, odd_edges=0)
        assert found is None, found
