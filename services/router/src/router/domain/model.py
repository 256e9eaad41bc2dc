"""A linear model over the features of a text: how likely each category and each subcategory is. Trained by `router.training`.

What one word contributes is the same in every text, so it is added up once and remembered: a text costs one addition a
word. The names of features are words of our own examples, never of a customer.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import numpy.typing as npt

from router.domain.features import Sentences, feature_of_rule, features_of_word, pairs_of
from shared.vocabulary import CATEGORY_OF, Category, Subcategory

Floats = npt.NDArray[np.float32]

WORDS_REMEMBERED = 50_000
CATEGORIES: tuple[Category | None, ...] = (*Category, None)
"""The outputs for categories; None is "none of these"."""
SUBCATEGORIES = tuple(Subcategory)
DANGERS = (Subcategory.CRISIS_DETECTION, Subcategory.MANDATORY_REPORTING)
"""What a single sentence of any text may tell of."""
_OUTPUTS = len(CATEGORIES) + len(SUBCATEGORIES) + 1
"""Categories, subcategories, and whether somebody is in danger."""
_OF_CATEGORY = {
    category: np.array([index for index, sub in enumerate(SUBCATEGORIES) if CATEGORY_OF[sub] is category])
    for category in Category
}


@dataclass(frozen=True, slots=True)
class Likelihoods:
    """How likely a text is about each category or none (together 1), how its subcategories score, and how likely it tells of
    somebody in danger: that is judged by itself, since one sentence is enough."""

    categories: dict[Category | None, float]
    subcategory_scores: Floats
    danger: float

    def of(self, category: Category | None) -> float:
        return self.categories[category]

    def in_order(self) -> list[Category]:
        """The categories, the likeliest first."""
        return sorted(Category, key=self.categories.__getitem__, reverse=True)

    def subcategories(self, category: Category) -> Floats:
        """How likely each subcategory of a category is if the category is right (together 1), in the order of C1."""
        return _shares(self.subcategory_scores[_OF_CATEGORY[category]])

    @property
    def likelier_danger(self) -> Subcategory:
        """Of crisis and abuse."""
        return max(DANGERS, key=lambda one: float(self.subcategory_scores[SUBCATEGORIES.index(one)]))

    def best_subcategory(self, category: Category) -> tuple[Subcategory, float]:
        """The likeliest subcategory of a category, and its share among those of the category (0-1)."""
        shares = self.subcategories(category)
        best = int(shares.argmax())
        return SUBCATEGORIES[int(_OF_CATEGORY[category][best])], float(shares[best])


@dataclass(frozen=True, slots=True)
class Contribution:
    """How much a word of the text spoke for a category; `feature_id` names it without the word."""

    feature_id: str
    word: str
    weight: float


@dataclass(frozen=True, slots=True)
class Parameters:
    """The trained numbers. `weights` has a row a feature and a column an output; `strengths` are the features' own weights."""

    features: tuple[str, ...]
    strengths: Floats
    weights: Floats
    biases: Floats
    sharpness: Floats
    """By which the two groups of scores are multiplied before they become likelihoods: fitted so that 0.8 means 80 %."""
    version: str

    def to_bytes(self) -> bytes:
        """Small and the same for the same numbers: weights in 255 steps a column."""
        steps = np.abs(self.weights).max(axis=0) / 127
        file = BytesIO()
        np.savez_compressed(
            file,
            features=np.frombuffer("\n".join(self.features).encode(), dtype=np.uint8),
            strengths=self.strengths.astype(np.float16),
            weights=np.rint(self.weights / steps).astype(np.int8),
            steps=steps.astype(np.float32),
            biases=self.biases.astype(np.float32),
            sharpness=self.sharpness.astype(np.float32),
            version=np.frombuffer(self.version.encode(), dtype=np.uint8),
        )
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Parameters":
        """
        Raises:
            ValueError: it is not such a file.
        """
        with np.load(BytesIO(data), allow_pickle=False) as file:
            return cls(
                features=tuple(file["features"].tobytes().decode().split("\n")),
                strengths=file["strengths"].astype(np.float32),
                weights=file["weights"].astype(np.float32) * file["steps"],
                biases=file["biases"],
                sharpness=file["sharpness"],
                version=file["version"].tobytes().decode(),
            )


class Model:
    """The parameters at work."""

    def __init__(self, parameters: Parameters) -> None:
        self.version = parameters.version
        self._parameters = parameters
        self._index = {name: index for index, name in enumerate(parameters.features)}
        strengths = parameters.strengths[:, None]
        self._rows = np.hstack([parameters.weights * strengths, strengths**2]).astype(np.float32)
        """Of each feature what it adds to the scores, and to the square of the text's length."""
        self._words: dict[str, int] = {}
        self._telling: dict[tuple[str, int], str] = {}
        self._sums = np.zeros((1024, _OUTPUTS + 1), dtype=np.float32)

    def likelihoods(self, sentences: Sentences, rules: Iterable[str] = ()) -> Likelihoods:
        """Of a whole text."""
        return self._likelihoods(self._sum(sentences, rules))

    def of_each(self, sentences: Sentences) -> list[Likelihoods]:
        """Of each sentence by itself."""
        return [self._likelihoods(self._sum([sentence], ())) for sentence in sentences]

    def contributions(self, sentences: Sentences, category: Category, most: int) -> tuple[Contribution, ...]:
        """The words that spoke most for a category."""
        words = list(dict.fromkeys(word for sentence in sentences for word in sentence))
        if not words:
            return ()
        column = CATEGORIES.index(category)
        rows = [self._row_of(word) for word in words]
        weights = self._sums[rows, column]
        best = [int(place) for place in np.argsort(-weights, kind="stable")[:most] if weights[place] > 0]
        return tuple(
            Contribution(self._feature_id(words[place], column), words[place], round(float(weights[place]), 3))
            for place in best
        )

    def _feature_id(self, word: str, column: int) -> str:
        """The known feature of the word that says most, by its number in the model."""
        if (known_id := self._telling.get((word, column))) is not None:
            return known_id
        known = [index for name in features_of_word(word) if (index := self._index.get(name)) is not None]
        found = f"feature.{max(known, key=lambda index: float(self._rows[index, column]))}"
        self._telling[word, column] = found
        return found

    def _sum(self, sentences: Sentences, rules: Iterable[str]) -> Floats:
        if len(self._words) > WORDS_REMEMBERED:
            self._words.clear()
            self._telling.clear()
        rows = [self._row_of(word) for word in {word for sentence in sentences for word in sentence}]
        names = {pair for sentence in sentences for pair in pairs_of(sentence)}
        names.update(map(feature_of_rule, rules))
        others = [self._index[name] for name in names if name in self._index]
        total: Floats = self._sums[rows].sum(axis=0)
        if others:
            total += self._rows[others].sum(axis=0)
        return total

    def _row_of(self, word: str) -> int:
        """Where the sum of a word's features stands."""
        row = self._words.get(word)
        if row is not None:
            return row
        row = len(self._words)
        if row == len(self._sums):
            self._sums = np.concatenate([self._sums, np.zeros_like(self._sums)])
        known = [index for name in features_of_word(word) if (index := self._index.get(name)) is not None]
        self._sums[row] = self._rows[known].sum(axis=0)
        self._words[word] = row
        return row

    def _likelihoods(self, total: Floats) -> Likelihoods:
        scores = total[:_OUTPUTS] / max(float(total[-1]), 1e-6) ** 0.5 + self._parameters.biases
        split = len(CATEGORIES)
        sharpness = self._parameters.sharpness
        shares = _shares(scores[:split] * sharpness[0]).tolist()
        danger = 1.0 / (1.0 + float(np.exp(-scores[-1])))
        return Likelihoods(dict(zip(CATEGORIES, shares, strict=True)), scores[split:-1] * sharpness[1], danger)


def _shares(scores: Floats) -> Floats:
    powers = np.exp(scores - scores.max())
    shares: Floats = powers / powers.sum()
    return shares


def known_features(sentences: Sentences, rules: Sequence[str]) -> list[str]:
    """All features of a text, each as often as the model counts it: once for every different word it stands in."""
    words = {word for sentence in sentences for word in sentence}
    pairs = {pair for sentence in sentences for pair in pairs_of(sentence)}
    return [
        *(name for word in sorted(words) for name in features_of_word(word)),
        *sorted(pairs),
        *map(feature_of_rule, rules),
    ]
