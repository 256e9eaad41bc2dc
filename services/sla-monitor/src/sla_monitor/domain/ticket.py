"""One ticket as its clocks see it: the facts, the terms, and what was told."""

from bisect import insort
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from shared.vocabulary import Subcategory, Tier
from sla_monitor.domain.clock import Care, Change, Fact, FactKind, Rules, Terms, fold
from sla_monitor.domain.notices import Notice, Told, announce, withdrawals
from sla_monitor.domain.targets import promises


@dataclass(frozen=True, slots=True)
class Creation:
    """The ticket as it came: when, for which tier, and when we learned of it."""

    at: datetime
    tier: Tier | None
    received_at: datetime
    id: str
    claimed_at: datetime | None = None
    source: str = ""


@dataclass(slots=True)
class Ticket:
    """Facts only grow; terms are set once, or provisionally and then once more (L16)."""

    ticket_id: str
    correlation_id: str
    creation: Creation | None = None
    terms: Terms | None = None
    facts: list[Fact] = field(default_factory=list)
    told: dict[str, Told] = field(default_factory=dict)

    def add(self, fact: Fact) -> None:
        """Put a fact into its place in time; one that is known changes nothing (L13)."""
        if fact not in self.facts:
            insort(self.facts, fact, key=lambda known: known.order)

    def is_routed(self) -> bool:
        return self.terms is not None and not self.terms.provisional

    def restriction(self) -> Fact | None:
        """What made the ticket restricted; the first of its kind (S9)."""
        return next((fact for fact in self.facts if fact.kind is FactKind.RESTRICTED), None)

    def start(
        self,
        *,
        tier: Tier,
        subcategory: Subcategory | None,
        created_at: datetime,
        decided_at: datetime,
        decided_by: str,
        care: Care,
        rules: Rules,
    ) -> None:
        """Start the clocks for good, at the first routing decision (L16).

        Raises:
            OutsideHorizon: the calendar cannot count from `created_at`.
        """
        self.terms = Terms(
            created_at=created_at,
            decided_at=decided_at,
            promises=promises(tier, subcategory, created_at, rules.policy.clocks, rules.calendar),
            care=care,
            policy_version=rules.policy.version,
            calendar=rules.calendar.name,
            decided_by=decided_by,
        )

    def look(self, now: datetime, rules: Rules) -> tuple[list[Notice], datetime | None]:
        """What has to be told at `now`, and when time alone will change something next."""
        unrouted_at = self._unrouted_at(rules)
        if self.creation is not None and unrouted_at is not None and unrouted_at <= now:
            self._start_unrouted(self.creation, unrouted_at, rules)
        if self.terms is None:
            return [], unrouted_at
        changes = fold(self.terms, self.facts, now, rules)
        if restriction := self.restriction():
            return withdrawals(changes, self.told, restriction), None
        return announce(self.terms, changes, self.told, now, rules)

    def record(self, notice: Notice, event_id: str) -> None:
        """Remember that a notice was told."""
        assert self.terms is not None
        told = self.told.setdefault(notice.clock.key, Told())
        told.record(notice, event_id=event_id, provisional=self.terms.provisional)

    def clocks(self, now: datetime, rules: Rules) -> list[Change]:
        """The last change of every clock; none for a ticket without clocks or a restricted one (L6)."""
        if self.terms is None or self.restriction() is not None:
            return []
        latest = {change.clock.key: change for change in fold(self.terms, self.facts, now, rules)}
        return list(latest.values())

    def _unrouted_at(self, rules: Rules) -> datetime | None:
        """When a ticket that nobody has routed gets its tier's clocks (L16); None once it has clocks or may have none."""
        if self.creation is None or self.terms is not None or self.restriction() is not None:
            return None
        return self.creation.received_at + timedelta(seconds=rules.policy.clocks.unrouted_after_seconds)

    def _start_unrouted(self, creation: Creation, decided_at: datetime, rules: Rules) -> None:
        self.terms = Terms(
            created_at=creation.at,
            decided_at=decided_at,
            promises=promises(creation.tier, None, creation.at, rules.policy.clocks, rules.calendar),
            care=Care.ORDINARY,
            policy_version=rules.policy.version,
            calendar=rules.calendar.name,
            provisional=True,
        )
