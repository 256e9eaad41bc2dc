"""Is this post a fact we accept, and which event is it? Times, the vocabulary, safety and identity (L13, C2, E0, E7, S6).

What makes it *known* is a row of the store; what it must be to be repeatable is decided here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.errors import Refusal
from shared.policy.crisis_words import CrisisWords
from shared.policy.model import Policy
from shared.vocabulary import CATEGORY_OF, Category, Criterion, Subcategory


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one field: its JSON pointer and what it should be, never its value."""

    pointer: str
    detail: str

    def below(self, prefix: str) -> "Fault":
        return Fault(prefix + self.pointer, self.detail)


class Invalid(Refusal):
    """The event is readable, but these fields are missing or say nothing that we know."""

    status = 422
    slug = "invalid-event"

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__(self.slug)
        self.faults = faults


class UnknownType(Refusal):
    """This type of event is not accepted here."""

    status = 422
    slug = "unknown-type"


class SourceNotAllowed(Refusal):
    """This key may not speak for that source."""

    status = 403
    slug = "source-not-allowed"


class TooLarge(Refusal):
    """The event is larger than one event may be."""

    status = 413
    slug = "too-large"


class IdTaken(Refusal):
    """Another event with this source and id has been accepted already."""

    status = 409
    slug = "id-conflict"


class TooOld(Refusal):
    """The event is older than the window within which its repetition would be recognised (L13)."""

    status = 422
    slug = "too-old"
    clause = "L13"


@dataclass(frozen=True, slots=True)
class Moment:
    """When an event happened, never later than its receipt; and what it claimed, where that was the future (L13)."""

    occurred_at: datetime
    claimed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """How old an event may be, and how far its producer's time may be ahead of ours without being called the future."""

    max_age: timedelta
    skew: timedelta

    def place(self, claimed_at: datetime | None, received_at: datetime) -> Moment:
        """The moment of an event that claims this time; one that claims none happened at receipt (L13).

        Raises:
            TooOld: the time lies before the window.
        """
        if claimed_at is not None and claimed_at < received_at - self.max_age:
            raise TooOld
        return self.place_any_age(claimed_at, received_at)

    def place_any_age(self, claimed_at: datetime | None, received_at: datetime) -> Moment:
        """The same, however old: a safety signal is not refused because it comes late or by a wrong clock (S6)."""
        if claimed_at is None:
            return Moment(received_at)
        if claimed_at > received_at + self.skew:
            return Moment(received_at, claimed_at)
        return Moment(claimed_at)


@dataclass(frozen=True, slots=True)
class Said:
    """What an event says, as far as acceptance looks at it: the policy's words, and the customer's own (`texts`)."""

    category: str | None = None
    subcategory: str | None = None
    signals: tuple[str, ...] = ()
    criterion: str | None = None
    texts: tuple[str, ...] = ()


_CATEGORIES = frozenset(Category)


def unknown_words(said: Said, policy: Policy) -> tuple[Fault, ...]:
    """The words that the policy does not have: over HTTP they are errors, so that upstream learns of them (C2, E0, E7)."""
    return tuple(_unknown_words(said, policy.criteria))


def _unknown_words(said: Said, criteria: frozenset[Criterion]) -> Iterator[Fault]:
    if said.category is not None and said.category not in _CATEGORIES:
        yield Fault("/category", "must be a category of C1")
    elif said.subcategory is not None:
        category = CATEGORY_OF.get(said.subcategory)  # type: ignore[call-overload]  # a StrEnum hashes as its word
        if category is None:
            yield Fault("/subcategory", "must be a subcategory of C1")
        elif category != said.category:
            yield Fault("/subcategory", "must belong to the category given with it")
    for index, signal in enumerate(said.signals):
        if signal not in criteria:
            yield Fault(f"/signals/{index}", "must be a criterion of E0")
    if said.criterion is not None and said.criterion not in criteria:
        yield Fault("/criterion", "must be a criterion of E0")


@dataclass(frozen=True, slots=True)
class Flag:
    """Why a ticket is reported to the safety bridge: ids of rules and criteria, never words (S6)."""

    subcategory: Subcategory | None
    evidence: tuple[str, ...]


class SafetyWatch:
    """What says safety: the upstream category, a criterion of the safety row alone (E0), or a crisis word (S6)."""

    def __init__(self, policy: Policy) -> None:
        self._words = CrisisWords(policy)
        self._criteria = policy.escalation.rows[Category.SAFETY].level_of.keys() - policy.escalation.everywhere.keys()
        self._severities = policy.safety.severities

    def hears(self, *texts: str) -> bool:
        """Whether words tell of a crisis."""
        return bool(self._words.find(*texts))

    def flag(self, said: Said) -> Flag | None:
        """The flag for an event whose words are known to the policy; its subcategory is the gravest one named (S8)."""
        hits = self._words.find(*said.texts)
        evidence = [f"words.{hit.rule_id}" for hit in hits]
        evidence += [f"signal.{signal}" for signal in said.signals if signal in self._criteria]
        named = [hit.subcategory for hit in hits]
        if said.category == Category.SAFETY:
            evidence.append("upstream.category")
            if said.subcategory is not None:
                named.insert(0, Subcategory(said.subcategory))
        if not evidence:
            return None
        gravest = max(named, key=lambda subcategory: self._severities[subcategory].severity, default=None)
        return Flag(gravest, tuple(evidence))


def repeatable_by(producer: str, idempotency_key: str | None, ticket_id: str | None) -> tuple[str, ...] | None:
    """What a retry of a plain post has in common with the first try, scoped by its producer; None if nothing is.

    The same parts give the same event id, so that a retry is known as one.
    """
    if idempotency_key is not None:
        return (producer, "idempotency-key", idempotency_key)
    if ticket_id is not None:
        return (producer, "ticket-id", ticket_id)
    return None
