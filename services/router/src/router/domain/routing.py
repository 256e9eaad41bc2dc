"""Which team and level does a ticket get (R)? Answered from all that is known of it, in whatever order it became known."""

from dataclasses import dataclass
from enum import Enum
from operator import attrgetter

from router.domain.classification import Classification
from router.domain.escalation import Met, Rise, rises
from shared.policy.model import Policy
from shared.vocabulary import Category, Level, Subcategory, Team


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a ticket stands, who else is told, and the clauses that say so (R8)."""

    category: Category | None
    subcategory: Subcategory | None
    team: Team
    level: Level
    owning_team: Team
    clauses: tuple[str, ...]
    also_notified: tuple[Team, ...] = ()
    raised_by: Met | None = None
    restricted: bool = False

    def equals(self, other: "Placement") -> bool:
        """Whether both say the same to whoever handles the ticket; how they were reached does not count."""
        return _told(self) == _told(other)


RESTRICTED = Placement(Category.SAFETY, None, Team.SAFETY, Level.ONE, Team.SAFETY, ("S5",), restricted=True)
"""What is said of a restricted ticket, whatever its class (S9)."""


_told = attrgetter("category", "subcategory", "team", "level", "owning_team", "also_notified", "restricted")


class Change(Enum):
    """What a new placement is, beside the one before."""

    NONE = "none"
    ASSIGNED = "assigned"
    ESCALATED = "escalated"
    DEESCALATED = "deescalated"


def change(before: Placement, after: Placement) -> Change:
    """A rise by a criterion inside the category is an escalation, a fall that a person asked for the opposite (R8, R9).

    Every other difference is an assignment; two that say the same are none.
    """
    if before.equals(after):
        return Change.NONE
    if before.category is after.category and not after.restricted:
        if after.level.rank > before.level.rank and after.raised_by not in (None, before.raised_by):
            return Change.ESCALATED
        if after.level.rank < before.level.rank and before.subcategory is after.subcategory:
            return Change.DEESCALATED
    return Change.ASSIGNED


def place(
    classification: Classification, criteria: tuple[Met, ...], lowered_to: Level | None, policy: Policy
) -> Placement:
    """The team and level by category (R2-R6), raised by the criteria that count there (E0, E5)."""
    category, subcategory = classification.category, classification.subcategory
    found = rises(criteria, category, policy) if criteria else []
    if category is None:
        return _in_triage(classification, found, policy)
    ladder = policy.routing.teams[category]
    entry = policy.routing.entries.get(subcategory) if subcategory else None
    level = entry.level if entry else Level.ONE
    reasons = [entry.clause if entry else "R6" if category is Category.SAFETY else "R2"]
    if lowered_to is not None:
        level, reasons = lowered_to, ["R9"]
    team = ladder.levels[level]

    highest = found[0] if found else None
    if highest is not None and highest.level.rank > level.rank:
        level, team = highest.level, highest.team
        reasons = [*(reason for reason in reasons if reason != "R2"), highest.clause]

    told = list(entry.also_notified) if entry else []
    told += _told_beside(classification, policy)
    if category is Category.SAFETY and team not in ladder.levels.values():
        told.append(ladder.owner)
    for rise in found:
        if rise.team is not team and (rise.everywhere or level is Level.IMMEDIATE):
            told.append(rise.team)
            reasons.append("R9" if level is Level.IMMEDIATE else "E5")
    return Placement(
        category,
        subcategory,
        team,
        level,
        ladder.owning_team(level),
        clauses=tuple(dict.fromkeys((*classification.clauses, *reasons))),
        also_notified=tuple(dict.fromkeys(other for other in told if other is not team)),
        raised_by=highest.met if highest is not None and highest.level is level else None,
    )


def _in_triage(classification: Classification, found: list[Rise], policy: Policy) -> Placement:
    """Customer service at Level 1 (C3), unless a criterion of E5 is met."""
    triage = policy.routing.triage
    team, level = triage.team, triage.level
    if found:
        team, level = found[0].team, found[0].level
    return Placement(
        None,
        None,
        team,
        level,
        triage.team,
        clauses=tuple(dict.fromkeys((*classification.clauses, *(rise.clause for rise in found)))),
        also_notified=tuple(dict.fromkeys(rise.team for rise in found if rise.team is not team)),
        raised_by=found[0].met if found else None,
    )


def _told_beside(classification: Classification, policy: Policy) -> list[Team]:
    """Who is told because of what the ticket is also about: those of R5, and legal of a claim (C5)."""
    told: list[Team] = []
    for topic in classification.secondary:
        if topic.subcategory is Subcategory.RIGHTS_HOLDER_CLAIM:
            told.append(policy.routing.teams[topic.category].levels[Level.THREE])
        elif topic.subcategory is not None and (entry := policy.routing.entries.get(topic.subcategory)):
            told.extend(entry.also_notified)
    return told
