"""How well a ticket was served, as a pure function of its facts (Q2-Q4).

Facts are kept as a set and played in the order in which they happened, so that any order of delivery and any repetition end in
the same figures; a late fact restates them. A ticket that was merged lends its replies to the one that survives.
"""

from bisect import insort
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from shared.policy.business_time import Calendar
from shared.policy.model import Policy
from shared.vocabulary import Category, Check, Criterion, Level, Subcategory, Team, Tier, Verdict
from sla_monitor.domain.clock import Care, care_of

FIRST_CONTACT_BUSINESS_DAYS = 3
"""A ticket solved at the first contact stays so for as long (Q3)."""

SATISFIED_FROM = 4
"""Of scores from 1 to 5 (Q3)."""
_NOTHING = timedelta(0)


class FactKind(StrEnum):
    """What quality cares about, in the order in which facts of one instant count (as for the clocks)."""

    CREATED = "created"
    TIER = "tier"
    ROUTED = "routed"
    DEMANDED = "demanded"
    """Criteria of E0 were named, by the event or by a person."""
    REFUSED = "refused"
    REPLIED = "replied"
    RESOLVED = "resolved"
    WAITING = "waiting"
    CONTINUED = "continued"
    CUSTOMER_WROTE = "customer_wrote"
    REOPENED = "reopened"
    CLOSED = "closed"
    RATED = "rated"
    REVIEWED = "reviewed"
    BREACHED = "breached"
    MET = "met"
    UNANSWERED = "unanswered"
    CORRECTED = "corrected"
    RESTRICTED = "restricted"


_PLACE = {kind: place for place, kind in enumerate(FactKind)}
_NO_TICKETS = ("spam", "merged", "duplicate")
"""Closed for one of these reasons, it was none, or is counted as another one."""


@dataclass(frozen=True, slots=True, repr=False)
class Standards:
    """What service is judged by: the policy in force, and its calendar for business time."""

    policy: Policy
    calendar: Calendar


@dataclass(frozen=True, slots=True)
class Decision:
    """What the router decided; a rise has its criterion, a rise and a fall the level they came from."""

    id: str
    replaces: str | None
    category: Category | None
    subcategory: Subcategory | None
    team: Team
    owning_team: Team
    level: Level
    from_level: Level | None = None
    criterion: Criterion | None = None

    @property
    def care(self) -> Care:
        return care_of(self.category, self.subcategory, self.team, self.owning_team)

    @property
    def place(self) -> str | None:
        """Category and level, as rates are told by; in triage there is none (C3)."""
        return f"{self.category}:{self.level:d}" if self.category is not None else None


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that happened to a ticket, in ids and codes.

    `word` is a tier, a reason, a verdict or a milestone; `about` the requester, the surviving ticket, the check, or the
    event that is refused or withdrawn; `criteria` are what was demanded.
    """

    at: datetime
    kind: FactKind
    id: str
    word: str | None = None
    about: str | None = None
    criteria: tuple[Criterion, ...] = ()
    score: int | None = None
    decision: Decision | None = None

    @property
    def order(self) -> tuple[datetime, int, str]:
        return self.at, _PLACE[self.kind], self.id


@dataclass(frozen=True, slots=True)
class Finding:
    """One check of Q1 with its evidence: ids of events."""

    check: Check
    verdict: Verdict
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Told:
    """The assessment told last."""

    event_id: str
    version: int
    resolution_id: str
    findings: tuple[Finding, ...]


@dataclass(slots=True)
class Record:
    """What is kept of one ticket: its facts, which only grow, and what was told of it."""

    ticket_id: str
    correlation_id: str = ""
    facts: list[Fact] = field(default_factory=list)
    told: Told | None = None

    def add(self, fact: Fact) -> None:
        """Put a fact into its place in time. Of a restricted ticket nothing but that is kept (S9)."""
        if fact in self.facts or self.is_restricted():
            return
        if fact.kind is FactKind.RESTRICTED:
            self.facts.clear()
            self.told = None
        insort(self.facts, fact, key=lambda known: known.order)

    def is_restricted(self) -> bool:
        return bool(self.facts) and self.facts[-1].kind is FactKind.RESTRICTED

    def creation(self) -> Fact | None:
        """The first `created`."""
        return next(self.of(FactKind.CREATED), None)

    def of(self, *kinds: FactKind) -> Iterator[Fact]:
        return (fact for fact in self.facts if fact.kind in kinds)

    def part_of(self) -> list[str]:
        """The tickets that closings name: into one of them it is merged, unless a fact still to come tells otherwise."""
        return sorted({fact.about for fact in self.of(FactKind.CLOSED) if fact.about is not None})

    def decisions(self) -> list[Fact]:
        """The routing decisions, each after the one that it replaces."""
        routed = list(self.of(FactKind.ROUTED))
        known = {fact.decision.id for fact in routed if fact.decision}
        next_of = {fact.decision.replaces: fact for fact in routed if fact.decision and fact.decision.replaces}
        ordered = []
        for fact in routed:
            decision = fact.decision
            if decision is None or decision.replaces in known:
                continue
            following: Fact | None = fact
            while following is not None and following.decision is not None:
                ordered.append(following)
                following = next_of.get(following.decision.id)
        return ordered


@dataclass(frozen=True, slots=True)
class Figure:
    """What one ticket contributes to the figures; lengths are whole microseconds, so that sums do not depend on order."""

    ticket_id: str
    requester: str
    tier: Tier
    category: Category | None
    team: Team | None
    created_at: datetime
    answered_at: datetime | None
    response_elapsed: int | None
    response_business: int | None
    is_closed: bool
    """Closed without a resolution."""
    resolved_at: datetime | None
    """Of the resolution that stands."""
    resolution_elapsed: int | None
    resolution_business: int | None
    is_reopened: bool
    is_first_contact: bool
    """Resolved with exactly one answer and not reopened; another ticket of the same matter may still tell otherwise (Q3)."""
    first_contact_until: datetime | None
    """When that is final, for the resolution that stands."""
    resolutions: tuple[datetime, ...]
    scores: tuple[int | None, ...]
    """The last rating of each resolution."""
    entered_above: bool
    """The policy put it straight on a level above the first."""
    is_raised: bool
    is_handed_over: bool
    """Raised because E5 puts it in other hands; such rises are in no rate."""
    entered: tuple[str, ...]
    raised_from: tuple[str, ...]


class Story:
    """The facts of a ticket, played in their order: answers, resolutions, and the stretches that count (L8, L9, L12).

    As for the clocks, what happened before the first decision is judged by the care that it put the ticket in.
    """

    def __init__(self, created_at: datetime, reopen_within: timedelta, care: Care) -> None:
        self._reopen_within = reopen_within
        self._care = care
        self._is_waiting = False
        self._since: datetime | None = created_at
        self._created_at = created_at
        self.stretches: list[tuple[datetime, datetime]] = []
        self.replies: list[datetime] = []
        self.resolutions: list[Fact] = []
        self.ratings: list[Fact | None] = []
        self.standing: Fact | None = None
        self.closing: Fact | None = None
        self.is_reopened = False

    def play(self, fact: Fact) -> None:
        at = max(fact.at, self._created_at)
        match fact.kind:
            case FactKind.ROUTED if fact.decision is not None:
                self._decide(fact.decision)
            case FactKind.REPLIED:
                self.replies.append(at)
            case FactKind.RESOLVED if self.standing is None and self.closing is None:
                self.standing = replace(fact, at=at)
                self.resolutions.append(self.standing)
                self.ratings.append(None)
                self._is_waiting = False
            case FactKind.WAITING:
                self._is_waiting = self.standing is None
            case FactKind.CONTINUED:
                self._is_waiting = False
            case FactKind.CUSTOMER_WROTE | FactKind.REOPENED:
                self._is_waiting &= fact.kind is FactKind.REOPENED
                self._reopen(at)
            case FactKind.CLOSED if self._care is not Care.SAFETY and self.closing is None:
                self.closing = fact
            case FactKind.RATED if self.ratings:
                self.ratings[-1] = fact
        self._count(at)

    def _decide(self, decision: Decision) -> None:
        """On the way into safety a ticket is open again, however it was ended (S6)."""
        before, self._care = self._care, decision.care
        if self._care is Care.SAFETY and before is not Care.SAFETY:
            self.is_reopened |= self.standing is not None
            self.standing = self.closing = None

    def _reopen(self, at: datetime) -> None:
        if self.standing is None or self.closing is not None or at - self.standing.at > self._reopen_within:
            return
        self.standing = None
        self.is_reopened = True

    def _count(self, at: datetime) -> None:
        is_paused = self._is_waiting and self._care is Care.ORDINARY
        counts = self.standing is None and self.closing is None and not is_paused
        if counts and self._since is None:
            self._since = at
        elif not counts and self._since is not None:
            self.stretches.append((self._since, at))
            self._since = None

    @property
    def is_no_ticket(self) -> bool:
        """Spam, or a repetition of one that nobody named."""
        closing = self.closing
        return closing is not None and closing.word in _NO_TICKETS and closing.about is None


def tell(record: Record, lent: Iterable[Fact], standards: Standards) -> Story | None:
    """The story of a ticket with what merged tickets lend it; None while its creation is not known or it is restricted."""
    creation = record.creation()
    if creation is None or record.is_restricted() or not standards.calendar.covers(creation.at):
        return None
    entry = next(
        (fact.decision.care for fact in record.of(FactKind.ROUTED) if fact.decision is not None), Care.ORDINARY
    )
    story = Story(creation.at, timedelta(days=standards.policy.clocks.reopen_within_days), entry)
    for fact in sorted([*record.facts, *lent], key=lambda known: known.order):
        story.play(fact)
    return story


def merging(record: Record, standards: Standards) -> Fact | None:
    """The closing that made a ticket part of another one, which `about` names."""
    story = tell(record, (), standards) if record.part_of() else None
    closing = story.closing if story is not None else None
    return closing if closing is not None and closing.word in _NO_TICKETS and closing.about is not None else None


def survivor(ticket_id: str, merged_into: Mapping[str, str]) -> str:
    """The ticket that a ticket has become part of, at the end of the chain; of a circle the first by name."""
    chain = [ticket_id]
    while (into := merged_into.get(chain[-1])) is not None:
        if into in chain:
            return min(chain[chain.index(into) :])
        chain.append(into)
    return chain[-1]


def lends(record: Record, merged: Fact) -> Iterator[Fact]:
    """What a merged ticket lends the one that survives: every answer, and what the customer wrote after the merge."""
    for fact in record.of(FactKind.REPLIED, FactKind.CUSTOMER_WROTE):
        if fact.kind is FactKind.REPLIED or fact.at >= merged.at:
            yield fact


def figure(record: Record, story: Story, standards: Standards) -> Figure | None:
    """What a ticket contributes; None for spam and for repetitions (Q2, Q3)."""
    creation = record.creation()
    if creation is None or story.is_no_ticket:
        return None
    decisions = [fact.decision for fact in record.decisions() if fact.decision is not None]
    current = decisions[-1] if decisions else None
    raised_from, is_handed_over = _rises(decisions, standards.policy)
    answered_at = story.replies[0] if story.replies else None
    resolved_at = story.standing.at if story.standing is not None else None
    measure = standards.calendar.measure
    return Figure(
        ticket_id=record.ticket_id,
        requester=creation.about or "",
        tier=_tier(record),
        category=current.category if current else None,
        team=current.team if current else None,
        created_at=creation.at,
        answered_at=answered_at,
        response_elapsed=_micros(answered_at - creation.at) if answered_at else None,
        response_business=_micros(measure(creation.at, answered_at)) if answered_at else None,
        is_closed=story.closing is not None and story.standing is None,
        resolved_at=resolved_at,
        resolution_elapsed=_micros(sum((end - start for start, end in story.stretches), _NOTHING))
        if resolved_at
        else None,
        resolution_business=_micros(sum((measure(*stretch) for stretch in story.stretches), _NOTHING))
        if resolved_at
        else None,
        is_reopened=story.is_reopened,
        is_first_contact=_is_first_contact(story),
        first_contact_until=_first_contact_until(story, standards),
        resolutions=tuple(fact.at for fact in story.resolutions),
        scores=tuple(fact.score if fact is not None else None for fact in story.ratings),
        entered_above=bool(decisions) and decisions[0].level is not Level.ONE,
        is_raised=bool(raised_from),
        is_handed_over=is_handed_over,
        entered=_places(decisions),
        raised_from=raised_from,
    )


def _tier(record: Record) -> Tier:
    """The last tier by the time from which it holds; a ticket without one is treated as free (L1)."""
    creation = record.creation()
    words = [creation.word if creation is not None else None, *(fact.word for fact in record.of(FactKind.TIER))]
    return Tier(words[-1] or Tier.FREE)


def _rises(decisions: Sequence[Decision], policy: Policy) -> tuple[tuple[str, ...], bool]:
    """The places from which a ticket was raised, and whether it was handed over by E5, which is in no rate (Q3)."""
    raised: set[str] = set()
    is_handed_over = False
    before: Decision | None = None
    for decision in decisions:
        if decision.criterion is not None and decision.from_level is not None:
            changes_hands = before is not None and before.category is not decision.category
            if changes_hands or decision.criterion in policy.escalation.everywhere:
                is_handed_over = True
            elif decision.category is not None:
                raised.add(f"{decision.category}:{decision.from_level:d}")
        before = decision
    return tuple(sorted(raised)), is_handed_over


def _places(decisions: Sequence[Decision]) -> tuple[str, ...]:
    return tuple(sorted({decision.place for decision in decisions if decision.place is not None}))


def _is_first_contact(story: Story) -> bool:
    resolved = story.standing
    if resolved is None or story.is_reopened:
        return False
    return len([at for at in story.replies if at <= resolved.at]) == 1


def _first_contact_until(story: Story, standards: Standards) -> datetime | None:
    if story.standing is None:
        return None
    return standards.calendar.add(story.standing.at, FIRST_CONTACT_BUSINESS_DAYS * standards.calendar.nominal_day)


def _micros(length: timedelta) -> int:
    return length // timedelta(microseconds=1)
