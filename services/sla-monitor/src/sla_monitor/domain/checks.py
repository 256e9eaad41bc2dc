"""The five checks on a resolved ticket (Q1): each is pass, fail or unknown, with the events that say so."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from shared.policy.model import Policy
from shared.vocabulary import Category, Check, Criterion, Level, Milestone, Verdict
from sla_monitor.domain.quality import SATISFIED_FROM, Decision, Fact, FactKind, Finding, Record, Story

_RESPONSES = (Milestone.INITIAL_RESPONSE, Milestone.ACKNOWLEDGEMENT)
_DISSATISFIED_TO = 2
REVIEWED = (Check.COMMUNICATION, Check.ESCALATION, Check.DOCUMENTATION)
"""Where a reviewer's mark counts, and counts most; the others follow from events alone."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """The checks on the resolution that stands, which is the `number`-th of its ticket."""

    resolution: Fact
    number: int
    at: datetime
    """When the latest fact known happened; the time from which a tier holds is none."""
    findings: tuple[Finding, ...]


def assess(record: Record, story: Story, policy: Policy) -> Assessment | None:
    """The checks as the facts known say (Q1); None while the ticket is not resolved or not routed."""
    resolved = story.standing
    decisions = record.decisions()
    if resolved is None or story.is_no_ticket or not decisions:
        return None
    judged = {
        Check.RESPONSE_WITHIN_TARGET: _response(record),
        Check.CLASSIFICATION_AND_ROUTING: _routing(record),
        Check.COMMUNICATION: _communication(story.ratings[-1]),
        Check.ESCALATION: _escalation(record, resolved, policy),
        Check.DOCUMENTATION: _documentation(resolved),
    }
    for mark in record.of(FactKind.REVIEWED):
        if mark.about in REVIEWED and mark.word is not None:
            judged[Check(mark.about)] = Verdict(mark.word), [mark]
    findings = [
        Finding(check, verdict, tuple(fact.id for fact in evidence)) for check, (verdict, evidence) in judged.items()
    ]
    at = max(fact.at for fact in record.facts if fact.kind is not FactKind.TIER)
    return Assessment(resolved, len(story.resolutions), at, tuple(findings))


_Judged = tuple[Verdict, list[Fact]]


def _response(record: Record) -> _Judged:
    """As the clocks were told last: a breach counts unless it was withdrawn (L13); unanswered is neither kept nor missed."""
    clocks = [fact for fact in _standing(record) if fact.word in _RESPONSES]
    for kind, verdict in (
        (FactKind.BREACHED, Verdict.FAIL),
        (FactKind.UNANSWERED, Verdict.UNKNOWN),
        (FactKind.MET, Verdict.PASS),
    ):
        if told := [fact for fact in clocks if fact.kind is kind]:
            return verdict, told
    return Verdict.UNKNOWN, []


def _routing(record: Record) -> _Judged:
    """Right when the first category and team stood: a rise is no change, the way out of triage neither (C3)."""
    decisions = [(fact, fact.decision) for fact in record.decisions() if fact.decision is not None]
    entry = decisions[0][1]
    wrong = []
    for (_, before), (fact, after) in pairwise(decisions):
        was_wrong = before.category is not None and before.category is not after.category
        was_wrong |= before.subcategory is not None and before.subcategory is not after.subcategory
        if after.from_level is None:
            was_wrong |= before.category is not None and before.team != after.team
        elif after.criterion is None:
            was_wrong |= after.level.rank < entry.level.rank
        if was_wrong:
            wrong.append(fact)
    return (Verdict.FAIL, wrong) if wrong else (Verdict.PASS, [decisions[0][0]])


def _communication(rating: Fact | None) -> _Judged:
    """The last rating of the resolution: 4 and 5 are good, 1 and 2 bad, 3 says nothing."""
    if rating is None or rating.score is None:
        return Verdict.UNKNOWN, []
    if rating.score >= SATISFIED_FROM:
        return Verdict.PASS, [rating]
    return (Verdict.FAIL if rating.score <= _DISSATISFIED_TO else Verdict.UNKNOWN), [rating]


def _escalation(record: Record, resolved: Fact, policy: Policy) -> _Judged:
    """Every criterion named before the resolution was met by its level or refused, and every overdue clock by a rise."""
    decisions = [fact.decision for fact in record.decisions() if fact.decision is not None]
    refused = {fact.about for fact in record.of(FactKind.REFUSED)}
    asked, unanswered = [], []
    for fact in record.of(FactKind.CREATED, FactKind.DEMANDED):
        if fact.criteria and fact.id not in refused and fact.at <= resolved.at:
            asked.append(fact)
            if not all(_is_met(criterion, decisions, policy) for criterion in fact.criteria):
                unanswered.append(fact)
    breaches = [f for f in _standing(record) if f.kind is FactKind.BREACHED and f.word == Milestone.ESCALATION]
    rises = sum(decision.criterion is Criterion.ESCALATION_DUE for decision in decisions)
    if not _is_at_the_top(decisions[-1], policy):
        unanswered += breaches[rises:]
    return (Verdict.FAIL, unanswered) if unanswered else (Verdict.PASS, asked + breaches)


def _documentation(resolved: Fact) -> _Judged:
    """As whoever resolved it says."""
    if resolved.word is None:
        return Verdict.UNKNOWN, []
    return Verdict(resolved.word), [resolved]


def _standing(record: Record) -> Iterator[Fact]:
    """What was told of clocks and not withdrawn since (L13)."""
    told = list(record.of(FactKind.BREACHED, FactKind.MET, FactKind.UNANSWERED, FactKind.CORRECTED))
    withdrawn = {fact.about for fact in told}
    return (fact for fact in told if fact.id not in withdrawn)


def _is_met(criterion: Criterion, decisions: list[Decision], policy: Policy) -> bool:
    """Whether the ticket ever was as high as a criterion asks; one that its category does not know asks nothing (E0, E5)."""
    category = decisions[-1].category
    if category is None:
        return True
    everywhere = policy.escalation.everywhere.get(criterion)
    level = everywhere.level if everywhere is not None else policy.escalation.rows[category].level_of.get(criterion)
    if level is None:
        return True
    needed = min(level.rank, _top(category, policy))
    return max(decision.level.rank for decision in decisions) >= needed


def _is_at_the_top(decision: Decision, policy: Policy) -> bool:
    """Where the clock raises nothing any more: the top level, level 0, triage (L14)."""
    return decision.category is None or decision.level.rank >= _top(decision.category, policy)


def _top(category: Category, policy: Policy) -> int:
    return max(level.rank for level in policy.routing.teams[category].levels if level is not Level.IMMEDIATE)
