"""Which category is a ticket about (C)? Three layers: the policy's patterns of words, a trained model, and abstaining (C3).

Patterns find what has to be found (crisis, abuse, legal criteria, privacy) and say so by rule id. The model weighs everything
else, text and sentence by sentence. What neither is sure of goes to a person. Upstream's word counts for more than both,
except about safety and claims (C2, C4).
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import combinations, islice
from operator import attrgetter
from typing import Self

from router.domain.features import Sentences, pieces_of, sentences_of
from router.domain.model import Contribution, Likelihoods, Model
from shared.policy.model import Policy
from shared.policy.patterns import Patterns, Rule
from shared.vocabulary import CATEGORY_OF, Category, Criterion, Hint, Subcategory, Tier

_CATEGORIES = {category.value: category for category in Category}
_SUBCATEGORIES = {subcategory.value: subcategory for subcategory in Subcategory}

GIVEN = 1.0
SUREST = 0.99
"""Of what words alone say."""
CERTAIN = 0.9
"""How often a ticket is about what a pattern names, as measured: see the score card."""
WORTH_TELLING = 0.05
"""Less likely categories are not named among the alternatives."""
ALTERNATIVES = 3
FEATURES_NAMED = 3
SENTENCES_READ = 16
"""Of a longer text, so many sentences may be about something else; for words of crisis all are looked at."""
TELLING_WORDS = 4
STEM_LETTERS = 6


@dataclass(frozen=True, slots=True)
class Sign:
    """A pattern that can be found: what it speaks of, and its id. Ids may travel, a customer's words may not."""

    word: Subcategory | Criterion | Hint
    rule_id: str
    is_safety: bool = False
    """Of crisis, abuse or danger to a child: nothing overrules it (C4)."""


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
    """What the patterns find in a text."""

    signs: tuple[Sign, ...] = ()
    is_doubtful: bool = False
    """Whether words of crisis were found and taken back: a story, an idiom, a denial, or a cry beside one."""

    @property
    def crisis(self) -> tuple[Sign, ...]:
        return tuple(sign for sign in self.signs if sign.is_safety)

    @property
    def criteria(self) -> tuple[Criterion, ...]:
        return tuple(dict.fromkeys(sign.word for sign in self.signs if isinstance(sign.word, Criterion)))

    @property
    def topics(self) -> tuple[Topic, ...]:
        """What the ticket is about by these signs, criteria apart."""
        named = (sign.word for sign in self.signs if isinstance(sign.word, Subcategory) and not sign.is_safety)
        return tuple(Topic(CATEGORY_OF[sub], sub, CERTAIN) for sub in dict.fromkeys(named))

    @property
    def hints(self) -> tuple[Hint, ...]:
        """Whether it may be no ticket at all."""
        return tuple(dict.fromkeys(sign.word for sign in self.signs if isinstance(sign.word, Hint)))

    @property
    def evidence(self) -> tuple[str, ...]:
        return tuple(sign.rule_id for sign in self.signs)


NOTHING = Reading()


@dataclass(frozen=True, slots=True)
class Classification:
    """Category, subcategory, confidence, evidence and version; without a primary topic the ticket is in triage (C3)."""

    primary: Topic | None
    secondary: tuple[Topic, ...]
    evidence: tuple[str, ...]
    version: str
    clauses: tuple[str, ...]
    alternatives: tuple[Topic, ...] = ()
    """What else the model considered, likeliest first."""

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
        if topic.subcategory is self.subcategory and self.primary is not None:
            return self
        others = tuple(known for known in self.secondary if known.subcategory is not topic.subcategory)
        if self.primary is None:
            return replace(self, primary=topic, secondary=others, clauses=("E5",))
        if _order(topic, None, policy) >= _order(self.primary, None, policy):
            return replace(self, secondary=(*others, topic), clauses=_united(self.clauses, ("C5",)))
        overruled = () if self.primary.subcategory is None and self.category is topic.category else (self.primary,)
        return replace(
            self, primary=topic, secondary=(*overruled, *others), clauses=_united(self.clauses, ("C4", "E5"))
        )

    def corrected_to(self, topic: Topic) -> Self:
        """As a person corrected it; what the words found beside it is kept (C5)."""
        others = tuple(known for known in self.secondary if known.category is not topic.category)
        return replace(self, primary=topic, secondary=others, clauses=("C2",))

    def also_shown_by(self, evidence: tuple[str, ...]) -> Self:
        return replace(self, evidence=_united(self.evidence, evidence))


@dataclass(frozen=True, slots=True)
class Explanation:
    """The words behind a classification. They are a customer's: they stay in the router's store, behind a scope (S5)."""

    rules: tuple[tuple[str, str], ...]
    """The id of each pattern found, and the words that it matched."""
    words: tuple[Contribution, ...]


@dataclass(frozen=True, slots=True)
class Danger:
    """Crisis or abuse as the model sees it, and by which features."""

    topic: Topic
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Look:
    """What the model makes of a text: of the whole, of each different part of it, and whether any of it tells of danger."""

    sentences: Sentences
    whole: Likelihoods
    parts: list[Likelihoods]
    danger: Danger | None


class Classifier:
    """The patterns of a policy, and the model."""

    def __init__(self, policy: Policy, model: Model) -> None:
        self.policy = policy
        self.version = model.version
        self._patterns = Patterns(rules_of(policy))
        self._model = model

    def read(self, *texts: str) -> Reading:
        """What the patterns find, in any language of the policy."""
        found, taken_back = self._patterns.look(*texts)
        is_doubtful = any(sign.is_safety for sign in taken_back)
        return Reading(found, is_doubtful) if found or is_doubtful else NOTHING

    def classify(
        self, texts: tuple[str, ...], reading: Reading, upstream: UpstreamWords | None, tier: Tier
    ) -> Classification:
        """What upstream says is taken as given, else the words decide (C2); words of crisis lead in any case (C4)."""
        given = upstream.understood() if upstream else None
        look = self._look(texts, reading)
        classification = (
            self._by_words(look, reading, tier) if given is None else self._inside(given, look.whole, reading)
        )
        for sign in reading.crisis:
            classification = classification.joined_by(topic_of(sign), self.policy)
        return self._with_danger(classification, look)

    def danger(self, texts: tuple[str, ...], reading: Reading) -> Danger | None:
        """What the model sees of crisis or abuse in later words, in all of them or in one sentence (C4)."""
        return self._look(texts, reading).danger

    def explain(self, texts: tuple[str, ...], classification: Classification) -> Explanation:
        """By which words a classification came about."""
        rules = tuple((found.rule.rule_id, found.words) for found in self._patterns.explain(*texts))
        is_given = classification.confidence == GIVEN
        category = classification.category
        if category is None and classification.alternatives:
            category = classification.alternatives[0].category
        words = () if is_given or category is None else self._model.contributions(_sentences(texts), category, 10)
        return Explanation(rules, words)

    def troubles(self, texts: tuple[str, ...], classification: Classification) -> tuple[str, ...]:
        """Keys under which tickets with the same trouble meet: the category, and each pair of the words that say most (E6).

        A key is a hash, never a word.
        """
        if classification.category is None:
            return ()
        telling = self._model.contributions(_sentences(texts), classification.category, TELLING_WORDS)
        stems = sorted({one.word[:STEM_LETTERS] for one in telling})
        return tuple(
            hashlib.blake2b(f"{classification.category} {first} {second}".encode(), digest_size=8).hexdigest()
            for first, second in combinations(stems, 2)
        )

    def _look(self, texts: tuple[str, ...], reading: Reading) -> "_Look":
        sentences = _sentences(texts)
        whole = self._model.likelihoods(sentences, sorted({sign.word for sign in reading.signs}))
        pieces = list(pieces_of(sentences))
        parts = self._model.of_each(pieces) if len(pieces) > 1 else []
        numbers = self.policy.classification
        least = numbers.danger_if_doubtful_from if reading.is_doubtful else numbers.danger_from
        surest = max([whole, *parts], key=lambda one: one.danger)
        confidence = min(round(surest.danger, 2), SUREST)
        topic = Topic(Category.SAFETY, surest.likelier_danger, confidence)
        danger = Danger(topic, self._features(sentences, Category.SAFETY)) if surest.danger >= least else None
        return _Look(sentences, whole, parts, danger)

    def _with_danger(self, classification: Classification, look: "_Look") -> Classification:
        """With what the model sees of crisis or abuse, wherever that is said and whatever upstream says (C4)."""
        if look.danger is None or classification.category is Category.SAFETY:
            return classification
        return classification.joined_by(look.danger.topic, self.policy).also_shown_by(look.danger.evidence)

    def _by_words(self, look: "_Look", reading: Reading, tier: Tier) -> Classification:
        """The category that the model is sure of, or that a pattern names."""
        evidence = reading.evidence
        by_likelihood = look.whole.in_order()
        whole = [self._topic(one, look.whole) for one in by_likelihood if self._is_sure(one, look.whole)]
        parts = list(self._of_sentences(look.parts))
        for topic in whole:
            evidence += self._features(look.sentences, topic.category)
        leading = [topic for topic in parts if _leads(topic) or not whole]
        ordered = sorted(
            _each_once([*reading.topics, *whole, *leading]),
            key=lambda topic: (*_order(topic, tier, self.policy), -topic.confidence),
        )
        alternatives = tuple(
            self._topic(category, look.whole)
            for category in by_likelihood[:ALTERNATIVES]
            if look.whole.of(category) >= WORTH_TELLING and category not in {topic.category for topic in ordered}
        )
        if not ordered:
            return Classification(None, alternatives, evidence, self.version, ("C3",), alternatives)
        others = [topic for topic in _each_once([*ordered, *parts]) if topic.category is not ordered[0].category]
        clauses = ("C2", "C5") if others else ("C2",)
        return Classification(ordered[0], tuple(others), evidence, self.version, clauses, alternatives)

    def _inside(self, given: Topic, likelihoods: Likelihoods, reading: Reading) -> Classification:
        """What upstream gave; without a subcategory the words choose one inside it, else none (C2)."""
        topics = reading.topics
        named = given.subcategory or next(
            (topic.subcategory for topic in topics if topic.category is given.category), None
        )
        chosen, share = likelihoods.best_subcategory(given.category)
        if named is None and share >= self.policy.classification.subcategory_from:
            named = chosen
        others = tuple(topic for topic in topics if topic.subcategory is not named)
        clauses = ("C2", "C5") if others else ("C2",)
        return Classification(replace(given, subcategory=named), others, reading.evidence, self.version, clauses)

    def _is_sure(self, category: Category, likelihoods: Likelihoods) -> bool:
        """Whether it is not left to a person (C3); that it may be about safety is enough, whatever else is likelier (C4)."""
        likelihood = likelihoods.of(category)
        return likelihood >= self.policy.classification.triage_below[category] and (
            category is Category.SAFETY or likelihood > likelihoods.of(None)
        )

    def _topic(self, category: Category, likelihoods: Likelihoods) -> Topic:
        subcategory, share = likelihoods.best_subcategory(category)
        is_named = share >= self.policy.classification.subcategory_from
        return Topic(category, subcategory if is_named else None, min(round(likelihoods.of(category), 2), SUREST))

    def _of_sentences(self, parts: Iterable[Likelihoods]) -> Iterator[Topic]:
        """What single sentences of a longer text are surely about (C5)."""
        numbers = self.policy.classification
        for likelihoods in islice(parts, SENTENCES_READ):
            topic = self._topic(likelihoods.in_order()[0], likelihoods)
            if topic.confidence >= (numbers.leading_from if _leads(topic) else numbers.secondary_from):
                yield topic

    def _features(self, sentences: Sentences, category: Category) -> tuple[str, ...]:
        found = self._model.contributions(sentences, category, FEATURES_NAMED)
        return tuple(dict.fromkeys(one.feature_id for one in found))


def rules_of(policy: Policy) -> Iterator[Rule[Sign]]:
    """Every pattern of the policy with what it stands for: safety first, then criteria, topics, and hygiene."""
    for rule in policy.rules(attrgetter("safety")):
        yield rule.standing_for(Sign(*rule.meaning, is_safety=True))
    for part in ("criteria", "topics", "hygiene"):
        for rule in policy.rules(attrgetter(part)):
            yield rule.standing_for(Sign(*rule.meaning))


def topic_of(sign: Sign) -> Topic:
    """What words of crisis or abuse make a ticket about (E5)."""
    return Topic(Category.SAFETY, Subcategory(sign.word), CERTAIN)


def _sentences(texts: tuple[str, ...]) -> Sentences:
    return sentences_of("\n".join(texts))


def _each_once(topics: Iterable[Topic]) -> list[Topic]:
    """Of each category one topic, the surest; of a category without a subcategory named, the one that is."""
    best: dict[Category, Topic] = {}
    for topic in topics:
        known = best.get(topic.category)
        if known is None or _weight(topic) > _weight(known):
            best[topic.category] = topic
    return list(best.values())


def _weight(topic: Topic) -> tuple[bool, float]:
    return topic.subcategory is not None, topic.confidence


def _leads(topic: Topic) -> bool:
    """Whether it goes before everything that has no place of its own in C5."""
    return topic.category is Category.SAFETY or topic.subcategory in _PRECEDENCE


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


def _united(*lists: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for words in lists for word in words))
