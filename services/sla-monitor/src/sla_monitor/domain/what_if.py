"""What other rules would do to the clocks of a ticket: moved, started and ended ones, and those breached at once (L11).

A dry run and a retarget ask the same question of the same facts, so that the one tells what the other does.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from shared.vocabulary import ClockState, Milestone
from sla_monitor.domain.clock import Clock, Fact, FactKind, Turn
from sla_monitor.domain.targets import Rules, RulesKey
from sla_monitor.domain.ticket import Ticket

EFFECTS_AT_MOST = 1000
COUNTS = (
    "tickets",
    "retargeted",
    "clocks",
    "moved",
    "restated",
    "started",
    "cancelled",
    "unchanged",
    "breached_at_once",
    "failed",
)
_OPEN = (ClockState.RUNNING, ClockState.PAUSED)


class Effect(NamedTuple):
    """What becomes of one clock. One that starts was not due before, one that ends is not due any more."""

    ticket_id: str
    milestone: Milestone
    cycle: int
    turn: Turn
    was_due_at: datetime | None
    due_at: datetime | None


@dataclass(slots=True)
class Effects:
    """What becomes of many tickets; every number counts all, `listed` are the first effects by ticket id."""

    tickets: int = 0
    """That have an open clock."""
    clocks: int = 0
    moved: int = 0
    restated: int = 0
    """Due as before, by another target."""
    started: int = 0
    cancelled: int = 0
    unchanged: int = 0
    breached_at_once: int = 0
    failed: int = 0
    """Tickets whose clocks could not be computed; each is a bug."""
    retargeted: int = 0
    """Tickets whose clocks come under the rules, whether or not that moves any."""
    to_retarget: list[str] = field(default_factory=list)
    """Their ids, of this page alone."""
    listed: list[Effect] = field(default_factory=list)

    def add(self, other: "Effects") -> None:
        """Count another page; what cannot be listed any more is counted all the same."""
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.listed += other.listed[: EFFECTS_AT_MOST - len(self.listed)]

    def weigh(self, ticket: Ticket, retarget: Fact, now: datetime, book: Mapping[RulesKey, Rules]) -> bool:
        """Count what the fact does to the ticket's clocks; answers whether the ticket has to get it."""
        is_other = ticket.runs_by() != retarget.rules
        facts = sorted([*ticket.facts, retarget], key=lambda fact: fact.order) if is_other else ticket.facts
        before: dict[str, Clock] = {}
        effects: dict[str, Effect] = {}
        breached: set[str] = set()
        for change in Ticket(ticket.ticket_id, "", terms=ticket.terms, facts=facts).changes(now, book):
            clock, key = change.clock, change.clock.key
            if change.because is retarget:
                due_at = None if change.turn is Turn.CANCELLED else clock.due_at
                was_due_at = before[key].due_at if key in before else None
                effect = Effect(ticket.ticket_id, clock.promise.milestone, clock.cycle, change.turn, was_due_at, due_at)
                effects.setdefault(key, effect)  # what starts may be paused at once
            elif key in effects and change.turn is Turn.BREACHED:
                breached.add(key)
            else:
                before[key] = clock
        running = sum(clock.state in _OPEN for clock in before.values())
        if not running:
            return False
        self._count(running, effects.values())
        self.breached_at_once += len(breached)
        if is_other:
            self.retargeted += 1
            self.to_retarget.append(ticket.ticket_id)
        return is_other

    def _count(self, running: int, effects: Iterable[Effect]) -> None:
        moved = started = cancelled = restated = 0
        for effect in effects:
            if effect.turn is Turn.STARTED:
                started += 1
            elif effect.turn is Turn.CANCELLED:
                cancelled += 1
            elif effect.due_at == effect.was_due_at:
                restated += 1
            else:
                moved += 1
            if len(self.listed) < EFFECTS_AT_MOST:
                self.listed.append(effect)
        self.tickets += 1
        self.clocks += running
        self.moved += moved
        self.restated += restated
        self.started += started
        self.cancelled += cancelled
        self.unchanged += running - moved - restated - cancelled


def retarget_to(rules: RulesKey, at: datetime, fact_id: str) -> Fact:
    """The fact that brings a ticket's clocks to these rules (L11)."""
    return Fact(at, FactKind.RULES_CHANGED, fact_id, rules=rules)
