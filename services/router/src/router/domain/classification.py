"""Which category is a ticket about (C)? A first plain rule list over whole words; what it does not know goes to triage (C3).

This module is the seam for a better classifier: the rest of the service knows `Classifier.read` and `.classify` only.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Self, TypeVar

from router.domain.keywords import CRITERIA, HINTING, TELLING
from shared.policy.crisis_words import Hit, Phrases, crisis_rules
from shared.policy.model import Policy
from shared.vocabulary import CATEGORY_OF, Category, Criterion, Subcategory, Tier

N = TypeVar("N", Criterion, Subcategory)

_CATEGORIES = {category.value: category for category in Category}
_SUBCATEGORIES = {subcategory.value: subcategory for subcategory in Subcategory}

GIVEN = 1.0
CERTAIN = 0.9
TELLING_WEIGHT = 0.8
HINTING_WEIGHT = 0.4


@dataclass(frozen=True, slots=True)
class Topic:
    """One thing a ticket is about, and how sure that is (0-1)."""

    category: Category
    subcategory: Subcategory | None
    confidence: float


RIGHTS_HOLDER_CLAIM = Topic(Category.IP_ATTRIBUTION, Subcategory.RIGHTS_HOLDER_CLAIM, CERTAIN)


@dataclass(frozen=True, slots=True)
class UpstreamWords:
    """The category that came from upstream, word for word (C2, C4)."""

    category: str | None
    subcategory: str | None

    def understood(self) -> Topic | None:
        """The topic they name; None when a word is unknown or the pair does not match (C2)."""
        category = _CATEGORIES.get(self.category or "")
        if category is None:
            return None
        if self.subcategory is None:
            return Topic(category, None, GIVEN)
        subcategory = _SUBCATEGORIES.get(self.subcategory)
        if subcategory is None or CATEGORY_OF[subcategory] is not category:
            return None
        return Topic(category, subcategory, GIVEN)


@dataclass(frozen=True, slots=True)
class Reading:
    """What the words of a text say; `evidence` names the rules that matched, never the words."""

    crisis: tuple[Hit, ...] = ()
    criteria: tuple[Criterion, ...] = ()
    topics: tuple[Topic, ...] = ()
    evidence: tuple[str, ...] = ()


NOTHING = Reading()


@dataclass(frozen=True, slots=True)
class Classification:
    """Category, subcategory, confidence, evidence and version; without a primary topic the ticket is in triage (C3)."""

    primary: Topic | None
    secondary: tuple[Topic, ...]
    evidence: tuple[str, ...]
    version: str
    clauses: tuple[str, ...]

    @property
    def category(self) -> Category | None:
        return self.primary.category if self.primary else None

    @property
    def subcategory(self) -> Subcategory | None:
        return self.primary.subcategory if self.primary else None

    @property
    def confidence(self) -> float:
        """Of the primary topic; in triage of the best candidate."""
        topics = (self.primary,) if self.primary else self.secondary
        return max((topic.confidence for topic in topics), default=0.0)

    def joined_by(self, topic: Topic, policy: Policy) -> Self:
        """With a topic of E5, which upstream never overrules: it leads where C5 puts it first (C4)."""
        if topic.subcategory in {known.subcategory for known in (self.primary, *self.secondary) if known}:
            return self
        if self.primary is None:
            return replace(self, primary=topic, clauses=("E5",))
        if _order(topic, None, policy) >= _order(self.primary, None, policy):
            return replace(self, secondary=(*self.secondary, topic), clauses=_united(self.clauses, ("C5",)))
        overruled = () if self.primary.subcategory is None and self.category is topic.category else (self.primary,)
        return replace(
            self, primary=topic, secondary=(*overruled, *self.secondary), clauses=_united(self.clauses, ("C4", "E5"))
        )

    def corrected_to(self, topic: Topic) -> Self:
        """As a person corrected it; what the words found beside it is kept (C5)."""
        others = tuple(known for known in self.secondary if known.category is not topic.category)
        return replace(self, primary=topic, secondary=others, clauses=("C2",))

    def also_shown_by(self, evidence: tuple[str, ...]) -> Self:
        return replace(self, evidence=_united(self.evidence, evidence))


@dataclass(frozen=True, slots=True)
class _Names:
    """A rule whose words speak of a subcategory."""

    subcategory: Subcategory
    weight: float
    rule_id: str


@dataclass(frozen=True, slots=True)
class _Meets:
    """A rule whose words meet a criterion."""

    criterion: Criterion
    rule_id: str


class Classifier:
    """The rule list, compiled once for a policy."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._rules: Phrases[Hit | _Names | _Meets] = Phrases(
            [
                *crisis_rules(policy),
                *((_Meets(criterion, rule_id), phrase) for criterion, rule_id, phrase in _numbered(CRITERIA)),
                *((_Names(sub, TELLING_WEIGHT, rule_id), phrase) for sub, rule_id, phrase in _numbered(TELLING)),
                *(
                    (_Names(sub, HINTING_WEIGHT, f"{rule_id}.hint"), phrase)
                    for sub, rule_id, phrase in _numbered(HINTING)
                ),
            ]
        )
        words = repr((policy.safety.crisis_words, CRITERIA, TELLING, HINTING))
        self.version = f"words-1@{hashlib.sha256(words.encode()).hexdigest()[:8]}"

    def read(self, *texts: str) -> Reading:
        """What the words say, in any order and language the lists know."""
        found = self._rules.find(*texts)
        if not found:
            return NOTHING
        return Reading(
            crisis=tuple(rule for rule in found if isinstance(rule, Hit)),
            criteria=tuple(dict.fromkeys(rule.criterion for rule in found if isinstance(rule, _Meets))),
            topics=_topics(rule for rule in found if isinstance(rule, _Names)),
            evidence=tuple(rule.rule_id for rule in found),
        )

    def classify(self, reading: Reading, upstream: UpstreamWords | None, tier: Tier) -> Classification:
        """What upstream says is taken as given, else the words decide (C2); words of crisis lead in any case (C4)."""
        policy = self.policy
        topics = list(reading.topics)
        if len(topics) > 1:
            topics.sort(key=lambda topic: (*_order(topic, tier, policy), -topic.confidence))
        sure = [topic for topic in topics if topic.confidence >= policy.classification.triage_below]
        given = upstream.understood() if upstream else None
        if given is not None and given.subcategory is None:
            inside = next((topic for topic in (*sure, *topics) if topic.category is given.category), given)
            given = replace(given, subcategory=inside.subcategory)
        primary = given or (sure[0] if sure else None)
        if primary is None:
            clauses: tuple[str, ...] = ("C3",)
            others = topics
        else:
            others = [topic for topic in sure if topic.subcategory is not primary.subcategory]
            clauses = ("C2", "C5") if others else ("C2",)
        classification = Classification(primary, tuple(others), reading.evidence, self.version, clauses)
        for hit in reading.crisis:
            classification = classification.joined_by(topic_of(hit), policy)
        return classification


def topic_of(hit: Hit) -> Topic:
    """What words of crisis or abuse make a ticket about (E5)."""
    return Topic(Category.SAFETY, hit.subcategory, CERTAIN)


def _topics(rules: Iterable[_Names]) -> tuple[Topic, ...]:
    """Each subcategory that was named; two hints are surer than one, and no number of them makes certainty."""
    doubt: dict[Subcategory, float] = defaultdict(lambda: 1.0)
    for rule in rules:
        doubt[rule.subcategory] *= 1 - rule.weight
    return tuple(Topic(CATEGORY_OF[sub], sub, min(round(1 - left, 2), CERTAIN)) for sub, left in doubt.items())


_PRECEDENCE = {
    Subcategory.RIGHTS_HOLDER_CLAIM: 1,
    Subcategory.INAPPROPRIATE_CONTENT: 2,
    Subcategory.AGE_APPROPRIATENESS: 3,
}


def _order(topic: Topic, tier: Tier | None, policy: Policy) -> tuple[int, timedelta]:
    """What several topics are sorted by: safety, claims, the two of content, then the earlier due time (C5, L7)."""
    is_safety = topic.category is Category.SAFETY
    if topic.subcategory is None:
        return (0 if is_safety else 4), timedelta.max
    precedence = 0 if is_safety else _PRECEDENCE.get(topic.subcategory, 4)
    promises = [policy.clocks.overlays.get(topic.subcategory)]
    if tier is not None and not is_safety:
        promises.append(policy.clocks.targets[tier])
    targets = [promise.initial_response.elapsed for promise in promises if promise and promise.initial_response]
    return precedence, min((length for length in targets if length is not None), default=timedelta.max)


def _numbered(table: Mapping[N, tuple[str, ...]]) -> Iterator[tuple[N, str, str]]:
    """Each phrase with what it speaks of and the id of its rule."""
    for name, phrases in table.items():
        for number, phrase in enumerate(phrases, start=1):
            yield name, f"{name.value}.{number}", phrase


def _united(*lists: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for words in lists for word in words))
