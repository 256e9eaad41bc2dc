"""When does a ticket move up, and where to (E0, E5)?"""

from collections.abc import Iterable
from dataclasses import dataclass

from shared.policy.model import Policy
from shared.vocabulary import Category, Criterion, Level, Origin, Team


@dataclass(frozen=True, slots=True)
class Met:
    """A criterion that a ticket meets, and where that came from (E6). It holds until a person lowers the ticket."""

    criterion: Criterion
    origin: Origin
    to: Level | None = None
    """Where the escalation clock raised it to; other criteria have their level in the policy (L14)."""
    breach: str | None = None
    """The event of that clock."""
    is_withdrawn: bool = False
    """Whether the clock was not due after all, as a late fact shows. It raises all the same: only a person lowers (R9, L13)."""


@dataclass(frozen=True, slots=True)
class Rise:
    """Where one criterion takes a ticket of one category; `everywhere` are those of E5."""

    met: Met
    level: Level
    team: Team
    clause: str
    everywhere: bool


def criterion_of(word: str, policy: Policy) -> Criterion | None:
    """The criterion that a word names; None for a word that is not in E0."""
    return Criterion(word) if word in policy.criteria else None


def next_level(category: Category, level: Level, policy: Policy) -> Level | None:
    """One level up; None from the top, and from level 0 (L14)."""
    if level is Level.IMMEDIATE:
        return None
    above = (other for other in policy.routing.teams[category].levels if other is not Level.IMMEDIATE and other > level)
    return min(above, default=None)


def rises(criteria: Iterable[Met], category: Category | None, policy: Policy) -> list[Rise]:
    """Where the criteria take a ticket of this category, the furthest first; those of other categories' rows nowhere.

    At the same level the teams of E5 go before a category's own, in the policy's order: legal first.
    """
    found = [rise for met in criteria if (rise := _rise(met, category, policy)) is not None]
    if len(found) > 1:
        precedence = {criterion: place for place, criterion in enumerate(policy.escalation.everywhere)}
        found.sort(key=lambda rise: (-rise.level.rank, precedence.get(rise.met.criterion, len(precedence))))
    return found


def is_answered_in(category: Category | None, criterion: Criterion, policy: Policy) -> bool:
    """Whether a person may ask for this criterion: it stands in the category's row, or in E5 (E7)."""
    if criterion in policy.escalation.everywhere:
        return True
    return category is not None and criterion in policy.escalation.rows[category].level_of


def _rise(met: Met, category: Category | None, policy: Policy) -> Rise | None:
    everywhere = policy.escalation.everywhere.get(met.criterion)
    if met.to is not None:
        team = policy.routing.teams[category].levels.get(met.to) if category is not None else None
        return Rise(met, met.to, team, "E9", everywhere=False) if team is not None else None
    if category is not None:
        row = policy.escalation.rows[category]
        level = row.level_of.get(met.criterion)
        if level is not None:
            team = policy.routing.teams[category].levels[level]
            clause = "R7" if category is Category.CONTENT and level is Level.THREE else row.clause
            return Rise(met, level, team, clause, everywhere is not None)
    if everywhere is None or everywhere.becomes is not None:  # what becomes a claim has changed the category instead
        return None
    return Rise(met, everywhere.level, everywhere.team, "E5", everywhere=True)
