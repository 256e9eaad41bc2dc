"""What the router remembers of a ticket, and what may change it. Every change answers a new value or refuses (E7, R9, S1)."""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Self

from router.domain.classification import (
    GIVEN,
    RIGHTS_HOLDER_CLAIM,
    Classification,
    Danger,
    Reading,
    Topic,
    UpstreamWords,
    topic_of,
)
from router.domain.company import NAMED_AT_MOST, Suggestion
from router.domain.escalation import Met, criterion_of, is_answered_in, next_level, rises
from router.domain.routing import RESTRICTED, Placement, place
from shared.errors import Refusal
from shared.policy.model import Policy
from shared.vocabulary import Category, Criterion, Level, Milestone, Origin, Subcategory, Team, TicketId, Tier

_WITH_LEGAL = (Team.LEGAL, Team.LEGAL_COMPLIANCE)
PERSISTS = Criterion.PERSISTS_AFTER_LEVEL_1
"""That it persists is a matter of what was tried, not of the word alone (E1)."""


class SafetyStands(Refusal):
    """Nobody lowers, closes or re-categorises a safety ticket alone."""

    slug = "safety-stands"
    clause = "S1"


class LegalStands(Refusal):
    """A ticket with legal is not lowered."""

    slug = "legal-stands"
    clause = "S1"


class ClaimStands(Refusal):
    """A rights-holder claim, a takedown or a cease-and-desist was made: the category follows from it."""

    slug = "claim-stands"
    clause = "C4"


class IsRestricted(Refusal):
    """Of a restricted ticket the general topics say one thing only."""

    slug = "is-restricted"
    clause = "S9"


class NotLower(Refusal):
    """The level asked for is above the ticket's."""

    slug = "not-lower"
    clause = "R9"


class NoReason(Refusal):
    """A person lowers a level with a reason."""

    slug = "no-reason"
    clause = "R9"


class NotAPerson(Refusal):
    """Only a person of the team lowers a level."""

    slug = "not-a-person"
    clause = "R9"


class UnknownCriterion(Refusal):
    """The word asked for is not a criterion."""

    slug = "unknown-criterion"
    clause = "E7"


class CriterionOfAnotherCategory(Refusal):
    """The criterion stands in another category's row and does not hold everywhere."""

    slug = "criterion-of-another-category"
    clause = "E7"


class MergedInACircle(Refusal):
    """Tickets were merged into one another until none was left: the first by name stays open, and people decide."""

    slug = "merged-in-a-circle"
    clause = "C3"


class ReopenedTooLate(Refusal):
    """A resolved ticket is reopened within seven days; later, upstream opens a new one that follows it."""

    slug = "reopened-too-late"
    clause = "L12"


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision in force: the `number`-th about its ticket."""

    id: str
    number: int
    placement: Placement


@dataclass(frozen=True, slots=True)
class Merge:
    """Into which ticket, by which event."""

    into: TicketId
    closed_by: str


@dataclass(frozen=True, slots=True)
class Ticket:
    """Ids, facts and the current decision: no word of the customer's."""

    ticket_id: TicketId
    created_by: str
    """Source and id of its `created`: the same again is a repetition, another one a mistake."""
    created_at: datetime
    tier: Tier
    requester_id: str
    ip_id: str | None
    upstream: UpstreamWords | None
    classification: Classification
    criteria: tuple[Met, ...] = ()
    lowered_to: Level | None = None
    restricted: bool = False
    resolved_at: datetime | None = None
    closed_at: datetime | None = None
    merge: Merge | None = None
    decision: Decision | None = None
    raised_at: datetime | None = None
    """When it last rose; an escalation clock that started before is void (E9)."""
    replies: int = 0
    """Public ones of Level 1, since it rose last (E1)."""
    replied_at: datetime | None = None
    related: tuple[TicketId, ...] = ()
    """Other tickets of the same matter (E2)."""
    suggestions: tuple[Suggestion, ...] = ()
    assignee: str | None = None
    watchers: tuple[str, ...] = ()
    """Who had it before (HD-60)."""
    due: Mapping[Milestone, datetime] = field(default_factory=dict)
    """Of its clocks that are neither met nor cancelled."""
    waits_for_customer: bool = False

    @property
    def is_open(self) -> bool:
        return self.resolved_at is None and self.closed_at is None

    @property
    def due_at(self) -> datetime | None:
        """What is due first."""
        return min(self.due.values(), default=None)

    @property
    def is_assignable(self) -> bool:
        """Whether somebody of its team may take it: of a restricted ticket nothing more is said (S9)."""
        return self.is_open and not self.restricted

    @property
    def is_load(self) -> bool:
        """Whether its clock runs (HD-58): waiting for the customer pauses it, but not with safety and legal (L9)."""
        return self.is_open and (not self.waits_for_customer or self._never_pauses)

    @property
    def _never_pauses(self) -> bool:
        placement = self.in_force.placement
        return placement.category is Category.SAFETY or placement.team in _WITH_LEGAL

    @property
    def is_dispute(self) -> bool:
        """Whether it disputes an intellectual property: wrongly detected, claimed by another, or said to be so (E2)."""
        disputed = (Subcategory.FALSE_POSITIVE, Subcategory.RIGHTS_HOLDER_CLAIM)
        said = any(met.criterion is Criterion.LEGAL_DISPUTE for met in self.criteria)
        return not self.restricted and (self.classification.subcategory in disputed or said)

    @property
    def is_found_in_crisis(self) -> bool:
        """Whether its own words, not upstream, made it a crisis or a report of abuse (S7)."""
        found = self.classification.subcategory in (Subcategory.CRISIS_DETECTION, Subcategory.MANDATORY_REPORTING)
        return found and self.decision is None and self.classification.confidence < GIVEN

    @property
    def in_force(self) -> Decision:
        """The current decision; a ticket has one as soon as it is saved."""
        assert self.decision is not None
        return self.decision

    def placed(self, policy: Policy) -> Placement:
        """Where the ticket belongs, by all that is known of it."""
        if self.restricted:
            return RESTRICTED
        return place(self.classification, self.criteria, self.lowered_to, policy)

    def meeting(self, criteria: Iterable[Met], policy: Policy) -> Self:
        """With the criteria it now meets; those of E5 that make a claim of it change the category (E5)."""
        known = {(met.criterion, met.to) for met in self.criteria}
        found = {(met.criterion, met.to): met for met in criteria}
        new = tuple(met for what, met in found.items() if what not in known)
        if self.restricted or not new:
            return self
        classification = self.classification
        if _has_claim(new, policy):
            classification = classification.joined_by(RIGHTS_HOLDER_CLAIM, policy)
        return self._classified(classification, criteria=(*self.criteria, *new))

    def told(self, reading: Reading, danger: Danger | None, policy: Policy) -> Self:
        """With what a customer's later words say: of crisis and abuse, and of criteria (E5, E6).

        A cry opens a ticket again, however long ago it was resolved or why it was closed (S6).
        """
        if self.restricted or not (reading.crisis or reading.criteria or danger):
            return self
        classification = self.classification.also_shown_by(reading.evidence)
        for sign in reading.crisis:
            classification = classification.joined_by(topic_of(sign), policy)
        if danger is not None:
            classification = classification.joined_by(danger.topic, policy).also_shown_by(danger.evidence)
        met = [Met(word, Origin.TEXT) for word in reading.criteria if word is not PERSISTS]
        if PERSISTS in reading.criteria and self.replies >= policy.escalation.replies_before_persisting:
            met.append(Met(PERSISTS, Origin.STATE))
        told = self._classified(classification).meeting(met, policy)
        return replace(told, resolved_at=None, closed_at=None) if reading.crisis or danger else told

    def replied(self, at: datetime) -> Self:
        """After a public reply of the team: on Level 1 an attempt to resolve it (E1). One that is known counts once."""
        if self.in_force.placement.level is not Level.ONE or (self.replied_at is not None and at <= self.replied_at):
            return self
        return replace(self, replies=self.replies + 1, replied_at=at)

    def overdue(self, level: Level | None, started_at: datetime, policy: Policy, *, breach: str) -> Self:
        """One level up, because its escalation clock of that level, which started then, is due (L14, E9).

        Void when it rose since, or has no level to rise to: what a person did a second before is not done again (HD-49).
        """
        now = self.in_force.placement
        rose_since = self.raised_at is not None and started_at < self.raised_at
        if now.category is None or not self.is_open or self.restricted or rose_since or level not in (None, now.level):
            return self
        above = next_level(now.category, now.level, policy)
        if above is None:
            return self
        return self.meeting([Met(Criterion.ESCALATION_DUE, Origin.CLOCK, above, breach)], policy)

    def withdrawn(self, breach: str) -> Self:
        """With the rise that this breach caused marked as groundless; the level stays (R9, HD-65)."""
        criteria = tuple(replace(met, is_withdrawn=True) if met.breach == breach else met for met in self.criteria)
        return self if criteria == self.criteria else replace(self, criteria=criteria)

    def undo(self, policy: Policy) -> Level | None:
        """The level to which a person may lower it, because nothing that still holds raised it higher (HD-65, R9)."""
        now = self.placed(policy)
        if now.category is Category.SAFETY or now.team in _WITH_LEGAL:
            return None
        held = tuple(met for met in self.criteria if not met.is_withdrawn)
        without = replace(self, criteria=held).placed(policy).level
        return without if without.rank < now.level.rank else None

    def one_of(self, others: Iterable[TicketId], criterion: Criterion, policy: Policy) -> Self:
        """One matter with others (E2, E6)."""
        related = tuple(dict.fromkeys((*self.related, *(one for one in others if one != self.ticket_id))))
        return replace(self, related=related[:NAMED_AT_MOST]).meeting([Met(criterion, Origin.STATE)], policy)

    @property
    def named(self) -> tuple[TicketId, ...]:
        """The other tickets that it names."""
        return (*self.related, *(one.of for one in self.suggestions if one.of is not None))

    def without(self, hidden: Set[TicketId]) -> Self:
        """Naming none of these."""
        if hidden.isdisjoint(self.named):
            return self
        related = tuple(one for one in self.related if one not in hidden)
        return replace(
            self, related=related, suggestions=tuple(one for one in self.suggestions if one.of not in hidden)
        )

    def timed(self, milestone: Milestone, due_at: datetime | None) -> Self:
        """With a clock due then, or no longer."""
        others = {known: at for known, at in self.due.items() if known is not milestone}
        return replace(self, due=others if due_at is None else {**others, milestone: due_at})

    def taken_by(self, member: str | None) -> Self:
        """With somebody of the team, or nobody; whoever had it goes on watching (HD-60)."""
        if member == self.assignee:
            return self
        before = (self.assignee,) if self.assignee is not None else ()
        watchers = dict.fromkeys((*self.watchers, *before))
        return replace(self, assignee=member, watchers=tuple(one for one in watchers if one != member))

    def asked_to_rise(self, word: str, policy: Policy) -> Self:
        """With the criterion by which a person asks for a rise (E7).

        Raises:
            Refusal: the ticket is restricted, the word is not in E0, or belongs to another category.
        """
        if self.restricted:
            raise IsRestricted
        criterion = criterion_of(word, policy)
        if criterion is None:
            raise UnknownCriterion
        if not is_answered_in(self.classification.category, criterion, policy):
            raise CriterionOfAnotherCategory
        return self.meeting([Met(criterion, Origin.PERSON)], policy)

    def lowered(self, to: Level, *, reason: str, by_person: bool, policy: Policy) -> Self:
        """At the lower level a person asked for; the criteria above it no longer hold (R9).

        Raises:
            Refusal: on safety tickets and tickets with legal (S1), without a person or a reason, or when it is no fall.
        """
        now = self.placed(policy)
        if now.category is Category.SAFETY:
            raise SafetyStands
        if now.team in _WITH_LEGAL:
            raise LegalStands
        if not by_person:
            raise NotAPerson
        if not reason.strip():
            raise NoReason
        if to.rank > now.level.rank:
            raise NotLower
        if to is now.level:
            return self
        spent = {rise.met for rise in rises(self.criteria, now.category, policy) if rise.level.rank > to.rank}
        return replace(self, lowered_to=to, criteria=tuple(met for met in self.criteria if met not in spent))

    def reclassified(self, words: UpstreamWords, policy: Policy) -> Self:
        """In the category that upstream corrects it to, entering there anew (R9); unknown words are only kept (C2).

        Raises:
            Refusal: out of safety, or to less inside it (S1); away from a claim that was made (C4).
        """
        if self.restricted:
            raise SafetyStands
        topic = words.understood()
        if topic is None:
            return replace(self, upstream=words)
        corrected = self._classified(self.classification.corrected_to(topic))
        if self.classification.category is Category.SAFETY and _weighs_less(corrected, than=self, policy=policy):
            raise SafetyStands
        if (
            _has_claim(self.criteria, policy)
            and topic.category is not Category.SAFETY
            and topic.subcategory is not RIGHTS_HOLDER_CLAIM.subcategory
        ):
            raise ClaimStands
        return corrected

    def marked_restricted(self) -> Self:
        """Reduced to what may be said of it (S9)."""
        nothing = replace(
            self.classification,
            primary=Topic(Category.SAFETY, None, GIVEN),
            secondary=(),
            evidence=(),
            alternatives=(),
        )
        return replace(
            self,
            classification=nothing,
            restricted=True,
            upstream=None,
            criteria=(),
            lowered_to=None,
            related=(),
            suggestions=(),
            assignee=None,
            watchers=(),
        )

    def resolved(self, at: datetime) -> Self:
        return replace(self, resolved_at=at, due={})

    def reopened(self, at: datetime, policy: Policy) -> Self:
        """Open again, if it was resolved before that time (L12).

        Raises:
            ReopenedTooLate: more than seven days after it was resolved.
        """
        if self.resolved_at is None or at <= self.resolved_at:
            return self
        if at - self.resolved_at > timedelta(days=policy.clocks.reopen_within_days):
            raise ReopenedTooLate
        return replace(self, resolved_at=None, waits_for_customer=False)

    def closed(self, at: datetime, merge: Merge | None = None) -> Self:
        """
        Raises:
            SafetyStands: safety tickets are not closed as spam, duplicate, merged or withdrawn (S1).
        """
        if self.classification.category is Category.SAFETY:
            raise SafetyStands
        return replace(self, closed_at=at, merge=merge)

    def not_merged(self) -> Self:
        return replace(self, closed_at=None, merge=None)

    def _classified(self, classification: Classification, **changes: Any) -> Self:
        """A ticket that changes its category enters anew: what a person lowered no longer counts (R9)."""
        was = self.classification
        is_same = (classification.category, classification.subcategory) == (was.category, was.subcategory)
        lowered_to = self.lowered_to if is_same else None
        changed = replace(self, classification=classification, lowered_to=lowered_to, **changes)
        if classification.category is was.category:
            return changed
        return replace(changed, criteria=tuple(met for met in changed.criteria if met.to is None))


def _has_claim(criteria: Iterable[Met], policy: Policy) -> bool:
    """Whether one of them makes a rights-holder claim of any ticket (E5)."""
    everywhere = policy.escalation.everywhere
    return any((effect := everywhere.get(met.criterion)) is not None and effect.becomes for met in criteria)


def _weighs_less(corrected: Ticket, *, than: Ticket, policy: Policy) -> bool:
    """Whether a safety ticket would leave safety, fall, lose somebody who is told, be a lesser incident, or wait longer (S1)."""
    before, after = than.placed(policy), corrected.placed(policy)
    return (
        after.category is not Category.SAFETY
        or after.level.rank < before.level.rank
        or not {before.team, *before.also_notified} <= {after.team, *after.also_notified}
        or _severity(after.subcategory, policy) < _severity(before.subcategory, policy)
        or _answered_within(after.subcategory, policy) > _answered_within(before.subcategory, policy)
    )


def _answered_within(subcategory: Subcategory | None, policy: Policy) -> timedelta:
    promise = policy.clocks.overlays.get(subcategory) if subcategory else None
    target = promise.initial_response if promise else None
    return (target.elapsed if target else None) or timedelta.max


def _severity(subcategory: Subcategory | None, policy: Policy) -> int:
    defaults = policy.safety.severities.get(subcategory) if subcategory else None
    return defaults.severity if defaults else 0
