"""One ticket as its clocks see it: the facts, the terms, and what was told."""

from bisect import insort
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from shared.vocabulary import Tier
from sla_monitor.domain.clock import Care, Change, Decided, Fact, FactKind, Terms, fold
from sla_monitor.domain.notices import Notice, Running, Told, announce, withdrawals
from sla_monitor.domain.targets import Rules, RulesKey

Book = Mapping[RulesKey, Rules]
"""All rules by which any clock runs."""

_ANSWERS = (FactKind.REPLIED, FactKind.ACKNOWLEDGED)


@dataclass(frozen=True, slots=True)
class Creation:
    """The ticket as it came: when, for which tier, and when we learned of it."""

    at: datetime
    tier: Tier | None
    received_at: datetime
    id: str
    claimed_at: datetime | None = None
    source: str = ""


class Outlook(NamedTuple):
    """What time alone will change: when first, and until which fact that is known already these clocks only run on."""

    look_at: datetime | None = None
    until: datetime | None = None
    running: tuple[Running, ...] = ()


@dataclass(slots=True)
class Ticket:
    """Facts only grow; terms follow from the earliest decision, or are provisional until there is one (L16)."""

    ticket_id: str
    correlation_id: str
    creation: Creation | None = None
    terms: Terms | None = None
    facts: list[Fact] = field(default_factory=list)
    told: dict[str, Told] = field(default_factory=dict)
    merged_into: str | None = None
    """The ticket that goes on instead of it: what is said here is said there."""

    def add(self, fact: Fact) -> None:
        """Put a fact into its place in time; one that is known changes nothing (L13)."""
        if fact not in self.facts:
            insort(self.facts, fact, key=lambda known: known.order)
            if self.terms is not None and fact.kind in (FactKind.ROUTED, FactKind.TIER_CHANGED):
                self._follow_facts(self.terms)

    def lends(self, fact: Fact) -> bool:
        """Whether what is said here is said in the ticket that it was merged into: every answer, and what the customer wrote
        since the merge (HD-29, HD-30)."""
        if fact.kind is not FactKind.CUSTOMER_WROTE:
            return fact.kind in _ANSWERS
        merged_at = next((known.at for known in self.facts if known.kind is FactKind.CLOSED), None)
        return merged_at is not None and fact.at >= merged_at

    def stay_open(self) -> None:
        """It was not merged after all, nor closed."""
        self.merged_into = None
        self.facts = [fact for fact in self.facts if fact.kind is not FactKind.CLOSED]

    def is_known(self) -> bool:
        """Whether it has come or was routed; until then another ticket may have been merged into it."""
        return self.creation is not None or self.terms is not None

    def is_routed(self) -> bool:
        return self.terms is not None and not self.terms.provisional

    def is_of_safety(self) -> bool:
        """Whether it stands with safety by the latest decision: then it cannot be merged away (S1)."""
        latest = next((fact.decided for fact in reversed(self.facts) if fact.decided is not None), None)
        return latest is not None and latest.care is Care.SAFETY

    def restriction(self) -> Fact | None:
        """What made the ticket restricted; the first of its kind (S9)."""
        return next((fact for fact in self.facts if fact.kind is FactKind.RESTRICTED), None)

    def start(self, decision: Fact, *, created_at: datetime, rules: Rules) -> None:
        """Start the clocks for good, at the first routing decision (L16), by the rules that they keep from then on (L11)."""
        known = self.terms.rules if self.terms is not None else rules.key
        self.add(decision)
        self._follow_facts(Terms(created_at, decision.at, decision.decided or Decided(), known, decision.id))

    def look(self, now: datetime, rules: Rules, book: Book) -> tuple[list[Notice], Outlook]:
        """What has to be told at `now`, and what time alone will change.

        Time that goes backwards untells nothing: what was told has happened.
        """
        now = max([now, *(told.latest for told in self.told.values() if told.latest is not None)])
        unrouted_at = self._unrouted_at(rules)
        if self.creation is not None and unrouted_at is not None and unrouted_at <= now:
            self._start_unrouted(self.creation, unrouted_at, rules)
        if self.terms is None:
            return [], Outlook(unrouted_at)
        changes = fold(self.terms, self.facts, now, book)
        if restriction := self.restriction():
            return withdrawals(changes, self.told, restriction), Outlook()
        notices, running = announce(self.terms, changes, self.told, now)
        to_come = next((fact.at for fact in self.facts if fact.at > now), None)
        looks = [clock.look_at for clock in running] + ([to_come] if to_come is not None else [])
        is_begun = self.terms.decided_at <= now
        return notices, Outlook(min(looks, default=None), to_come, tuple(running) if is_begun else ())

    def record(self, notice: Notice, event_id: str) -> None:
        """Remember that a notice was told."""
        assert self.terms is not None
        told = self.told.setdefault(notice.clock.key, Told())
        told.record(notice, event_id=event_id, provisional=self.terms.provisional)

    def changes(self, now: datetime, book: Book) -> list[Change]:
        """Everything that became of the clocks; nothing for a ticket without clocks or a restricted one (L6)."""
        if self.terms is None or self.restriction() is not None:
            return []
        return fold(self.terms, self.facts, now, book)

    def clocks(self, now: datetime, book: Book) -> list[Change]:
        """The last change of every clock."""
        return list({change.clock.key: change for change in self.changes(now, book)}.values())

    def rules(self) -> set[RulesKey]:
        """The rules that its clocks run by, or did."""
        named = {fact.rules for fact in self.facts if fact.rules is not None}
        return named if self.terms is None else {self.terms.rules, *named}

    def runs_by(self) -> RulesKey | None:
        """The rules that its clocks keep now: those of its start, or of the last retarget (L11). None without clocks."""
        last = next((fact.rules for fact in reversed(self.facts) if fact.rules is not None), None)
        return last if last is not None or self.terms is None else self.terms.rules

    def _follow_facts(self, terms: Terms) -> None:
        """The terms by the earliest decision, and by the tier that the ticket had then, however late we heard of either."""
        first = next((fact for fact in self.facts if fact.decided is not None and fact.decided.tier is not None), None)
        if first is not None and first.decided is not None:
            terms = replace(terms, decided_at=first.at, decided_by=first.id, decided=first.decided, provisional=False)
        elif not terms.provisional:
            return
        tiers = [fact.tier for fact in self.facts if fact.kind is FactKind.TIER_CHANGED and fact.at <= terms.decided_at]
        told = first.decided.tier if first is not None and first.decided is not None else None
        tier = tiers[-1] if tiers else told or (self.creation.tier if self.creation is not None else None)
        self.terms = replace(terms, decided=replace(terms.decided, tier=tier))

    def _unrouted_at(self, rules: Rules) -> datetime | None:
        """When a ticket that nobody has routed gets its tier's clocks (L16); None once it has clocks or may have none."""
        if self.creation is None or self.terms is not None or self.restriction() is not None:
            return None
        return self.creation.received_at + timedelta(seconds=rules.clocks.unrouted_after_seconds)

    def _start_unrouted(self, creation: Creation, decided_at: datetime, rules: Rules) -> None:
        terms = Terms(creation.at, decided_at, Decided(tier=creation.tier), rules.key, provisional=True)
        self._follow_facts(terms)
