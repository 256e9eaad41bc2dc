"""Whatever happens to a ticket, in whatever order it is heard of: its clocks follow from its facts alone (L10, L13)."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from pydantic import TypeAdapter

from shared.policy.business_time import Calendar
from shared.policy.model import Policy
from shared.vocabulary import CATEGORY_OF, Level, Subcategory, Tier
from sla_monitor.domain.clock import Care, Clock, Decided, Fact, FactKind, Turn, care_of
from sla_monitor.domain.notices import Notice
from sla_monitor.domain.plan import Plan, catch_up, micros
from sla_monitor.domain.targets import Rules
from sla_monitor.domain.ticket import Creation, Ticket

LIVES = int(os.environ.get("SUPPORT_TEST_LIVES", "20"))
CREATED = datetime(2026, 3, 27, 9, tzinfo=UTC)
"""The Friday before summer time begins, with Easter a week later."""
FAR = CREATED + timedelta(days=90)
DOCUMENT = TypeAdapter(Ticket)
ORDINARY_KINDS = [
    FactKind.ACKNOWLEDGED,
    FactKind.REPLIED,
    FactKind.RESOLVED,
    FactKind.WAITING,
    FactKind.CONTINUED,
    FactKind.CUSTOMER_WROTE,
    FactKind.REOPENED,
]
SUBCATEGORIES = [
    None,
    Subcategory.REFUND_REQUEST,
    Subcategory.USER_QUESTION,
    Subcategory.RIGHTS_HOLDER_CLAIM,
    Subcategory.CRISIS_DETECTION,
    Subcategory.PRIVACY_CONCERN,
]
TIERS, SUBJECTS, LEVELS = st.sampled_from(Tier), st.sampled_from(SUBCATEGORIES), st.sampled_from(Level)
LATE = st.one_of(st.just(0), st.just(0), st.integers(1, 5 * 24 * 60)).map(lambda minutes: timedelta(minutes=minutes))
AHEAD = st.integers(-2 * 24 * 60, 24 * 60).map(lambda minutes: timedelta(minutes=minutes))
PASSING = st.one_of(st.integers(0, 90), st.integers(90, 3 * 24 * 60)).map(lambda minutes: timedelta(minutes=minutes))


class Life(RuleBasedStateMachine):
    """One ticket: things happen, are heard of at once or late or twice, time passes, somebody looks, processes restart."""

    def __init__(self, rules: Rules, other: Rules) -> None:
        super().__init__()
        self.rules, self.other = rules, other
        self.book = {one.key: one for one in (rules, other)}
        self.now = CREATED
        self.ticket = Ticket("T-1", "c-1")
        self.decision: Fact | None = None
        self.facts: list[Fact] = []
        self.said: list[Notice] = []
        self.shown: dict[str, Clock] = {}
        self.kept: bytes | None = None
        """The document and the plan since the last fact, and the looks since then."""
        self.plan: Plan | None = None
        self.looks: list[datetime] = []

    # --- what happens ---

    @initialize(tier=TIERS, subcategory=SUBJECTS, is_routed=st.booleans())
    def begins(self, tier: Tier, subcategory: Subcategory | None, is_routed: bool) -> None:
        self.ticket.creation = Creation(CREATED, tier, CREATED, "created-1")
        if is_routed:
            self.is_routed(tier, subcategory)

    @precondition(lambda self: self.decision is None)
    @rule(tier=TIERS, subcategory=SUBJECTS)
    def is_routed(self, tier: Tier, subcategory: Subcategory | None) -> None:
        self.decision = self.decided(self.now, subcategory, Level.ONE, tier, rose=False)
        self.ticket.start(self.decision, created_at=CREATED, rules=self.rules)
        self.plan = None
        self.look()

    @rule(kind=st.sampled_from(ORDINARY_KINDS), late=LATE)
    def happens(self, kind: FactKind, late: timedelta) -> None:
        self.hear(Fact(self.now - late, kind, self.next_id()))

    @rule(reason=st.sampled_from(["spam", "merged"]), late=LATE)
    @precondition(lambda self: len(self.facts) > 6)
    def is_closed(self, reason: str, late: timedelta) -> None:
        self.hear(Fact(self.now - late, FactKind.CLOSED, self.next_id(), reason=reason))

    @precondition(lambda self: len(self.facts) > 15)
    @rule()
    def is_restricted(self) -> None:
        self.hear(Fact(self.now, FactKind.RESTRICTED, self.next_id()))

    @rule(tier=TIERS, ahead=AHEAD)
    def changes_its_tier(self, tier: Tier, ahead: timedelta) -> None:
        self.hear(Fact(self.now + ahead, FactKind.TIER_CHANGED, self.next_id(), tier=tier))

    @rule(is_other=st.booleans(), late=LATE)
    def is_judged_by_other_rules(self, is_other: bool, late: timedelta) -> None:
        key = (self.other if is_other else self.rules).key
        self.hear(Fact(self.now - late, FactKind.RULES_CHANGED, self.next_id(), rules=key))

    @precondition(lambda self: self.decision is not None)
    @rule(
        subcategory=SUBJECTS,
        level=LEVELS,
        late=LATE,
        rose=st.booleans(),
        by_clock=st.booleans(),
        tier=st.none() | TIERS,
    )
    def is_decided_anew(
        self,
        subcategory: Subcategory | None,
        level: Level,
        late: timedelta,
        rose: bool,
        by_clock: bool,
        tier: Tier | None,
    ) -> None:
        self.hear(self.decided(self.now - late, subcategory, level, tier, rose=rose, by_clock=rose and by_clock))

    @precondition(lambda self: self.facts)
    @rule(data=st.data())
    def is_told_again(self, data: st.DataObject) -> None:
        said = len(self.said)
        self.hear(data.draw(st.sampled_from(self.facts)), is_new=False)
        assert len(self.said) == said

    # --- time, looks, processes ---

    @rule(passing=PASSING)
    def time_passes(self, passing: timedelta) -> None:
        self.now += passing
        self.look()

    @rule()
    def time_passes_until_the_next_look(self) -> None:
        _, outlook = self.ticket.look(self.now, self.rules, self.book)
        self.now = max(self.now, outlook.look_at or self.now)
        self.look()

    @rule(behind=PASSING)
    def another_process_is_behind(self, behind: timedelta) -> None:
        said = len(self.said)
        self.look(self.now - behind)
        assert len(self.said) == said

    @rule()
    def is_read_again(self) -> None:
        self.ticket = DOCUMENT.validate_json(DOCUMENT.dump_json(self.ticket, exclude_defaults=True))
        said = len(self.said)
        self.look()
        assert len(self.said) == said

    # --- what holds ---

    @invariant()
    def clocks_follow_from_the_facts_in_order(self) -> None:
        """The clocks of a ticket that heard everything once, in order (L13)."""
        if self.decision is None:
            return
        fresh = Ticket("T-1", "c-1", creation=self.ticket.creation)
        fresh.start(self.decision, created_at=CREATED, rules=self.rules)
        for fact in sorted(self.facts, key=lambda fact: fact.order):
            fresh.add(fact)
        assert self.ticket.clocks(self.now, self.book) == fresh.clocks(self.now, self.book)

    @invariant()
    def nothing_is_told_twice(self) -> None:
        """Each threshold of a clock once; no other event is the same as one before (L10)."""
        warned = [(notice.clock.key, notice.threshold) for notice in self.said if notice.turn is Turn.WARNING]
        assert len(warned) == len(set(warned))
        events = [
            (one.turn, one.clock.key, one.threshold or (one.at, len(one.tells), one.clause), one.corrections)
            for one in self.said
        ]
        assert len(events) == len(set(events))

    @invariant()
    def what_was_told_last_shows_the_clock(self) -> None:
        """A promise, a level and rules that moved nothing are told with the next turn (L15)."""
        for change in self.ticket.clocks(self.now, self.book):
            assert plain(self.shown[change.clock.key]) == plain(change.clock)

    # --- how ---

    def hear(self, fact: Fact, *, is_new: bool = True) -> None:
        self.ticket.add(fact)
        self.plan = None
        if is_new:
            self.facts.append(fact)
        self.look()

    def look(self, now: datetime | None = None) -> None:
        notices, outlook = self.ticket.look(now or self.now, self.rules, self.book)
        for notice in notices:
            assert notice.at <= self.now, "told before it happened"
            self.ticket.record(notice, f"s-{len(self.said)}")
            self.said.append(notice)
            self.shown[notice.clock.key] = notice.clock
        self.check_the_plan(now or self.now, notices)
        if self.plan is None:
            self.kept, self.looks = DOCUMENT.dump_json(self.ticket), []
            self.plan = Plan.of(self.ticket, outlook)

    def check_the_plan(self, now: datetime, notices: Sequence[Notice]) -> None:
        """As long as nothing is heard, what is told is what was planned, and is remembered alike (L10)."""
        if self.plan is not None and self.plan.until is not None and self.plan.until <= micros(now):
            self.plan = None
        if self.plan is None or self.kept is None or (self.looks and now < self.looks[-1]):
            return
        self.looks.append(now)
        planned = self.plan.due(micros(now), micros(self.looks[-2]) if len(self.looks) > 1 else None)
        assert [(course.seed("T-1", one), one.at) for course, one in planned] == [
            (notice.seed("T-1"), micros(notice.at)) for notice in notices
        ]
        ids = {notice.seed("T-1"): f"s-{number}" for number, notice in enumerate(self.said)}
        ticket = DOCUMENT.validate_json(self.kept)
        catch_up(ticket, self.plan, self.looks, lambda course, one: ids[course.seed("T-1", one)])
        assert DOCUMENT.dump_json(ticket) == DOCUMENT.dump_json(self.ticket)

    def decided(
        self,
        at: datetime,
        subcategory: Subcategory | None,
        level: Level,
        tier: Tier | None,
        *,
        rose: bool,
        by_clock: bool = False,
    ) -> Fact:
        category = CATEGORY_OF[subcategory] if subcategory else None
        care: Care = care_of(category, subcategory)
        decided = Decided(care, subcategory, level, tier, rose, by_clock)
        return Fact(at, FactKind.ROUTED, self.next_id(), decided=decided)

    def next_id(self) -> str:
        return f"e-{len(self.facts):03}"


def plain(clock: Clock) -> Clock:
    return clock._replace(level=None, promise=None, rules=None)


def test_a_ticket_lives_whatever_life(policy: Policy, rules: Rules, calendars: dict[str, Calendar]) -> None:
    """Random facts, late and twice, looks, restarts: same clocks, told once, never ahead of time (L10, L11, L13)."""
    other = Rules("edited", policy.clocks.model_copy(update={"grace_share": 0.1}), calendars["CAL-NY"])
    life = settings(max_examples=LIVES, stateful_step_count=25, deadline=None, phases=(Phase.explicit, Phase.generate))
    run_state_machine_as_test(partial(Life, rules, other), settings=life)
