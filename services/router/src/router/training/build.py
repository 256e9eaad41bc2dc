"""Trains the model from the examples and writes `model.npz`: `python -m router.training.build`, or `make model`.

The same examples and the same words of the policy give the same model, and its version is the hash of both. How sure it may
be is fitted on texts of a kind that it has not seen: each register (a file `register_*`) is judged by a model trained without.
"""

import hashlib
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from router.domain.classification import rules_of
from router.domain.features import LETTERS, PAIR, RULE, WORD, pieces_of, sentences_of
from router.domain.model import CATEGORIES, DANGERS, SUBCATEGORIES, Model, Parameters, known_features
from router.training.examples import Example, hash_of_examples, read_examples
from shared.policy.load import load_policy
from shared.policy.model import Policy
from shared.policy.patterns import Patterns
from shared.vocabulary import CATEGORY_OF, Subcategory

MODEL = Path(str(files("router.training") / "model.npz"))
REGISTER = "register_"
IN_AT_LEAST = {WORD: 2, PAIR: 2, LETTERS: 3, RULE: 1}
"""In how many examples a feature has to occur."""
OWN_WEIGHT = {WORD: 1.0, PAIR: 0.8, LETTERS: 0.5, RULE: 2.0}
STRICTNESS = 3.0
"""Of the logistic regression: the inverse of its penalty."""
SHARPNESS = np.arange(0.6, 4.0, 0.05)

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Prepared:
    """The features of each example."""

    examples: list[Example]
    features: list[list[str]]

    def only(self, chosen: Sequence[bool]) -> "Prepared":
        kept = [index for index, keep in enumerate(chosen) if keep]
        return Prepared([self.examples[index] for index in kept], [self.features[index] for index in kept])


def prepare(policy: Policy) -> Prepared:
    """All examples, with what the model will see of them."""
    examples = read_examples()
    patterns = Patterns(rules_of(policy))
    features = [
        known_features(sentences_of(example.text), sorted({found.word for found in patterns.find(example.text)}))
        for example in examples
    ]
    return Prepared(examples, features)


def train(data: Prepared, version: str, sharpness: Sequence[float] = (1.0, 1.0)) -> Parameters:
    """The parameters for these examples."""
    counts = Counter(name for names in data.features for name in set(names))
    known = sorted(name for name, count in counts.items() if count >= IN_AT_LEAST[name[0]])
    strengths = np.array(
        [(np.log((1 + len(data.features)) / (1 + counts[name])) + 1) * OWN_WEIGHT[name[0]] for name in known]
    )
    columns = {name: column for column, name in enumerate(known)}
    table = _table(data.features, columns, strengths)
    categories = np.array([CATEGORIES.index(example.category) for example in data.examples])
    named = np.array([example.subcategory is not None for example in data.examples])
    subcategories = np.array([SUBCATEGORIES.index(one.subcategory) for one in data.examples if one.subcategory])
    first, first_biases = _fit(table, categories, len(CATEGORIES))
    second, second_biases = _fit_inside(table[named], subcategories)
    third, third_bias = _fit_danger(data.examples, columns, strengths)
    return Parameters(
        features=tuple(known),
        strengths=strengths.astype(np.float32),
        weights=np.hstack([first, second, third]).astype(np.float32),
        biases=np.concatenate([first_biases, second_biases, third_bias]).astype(np.float32),
        sharpness=np.array(sharpness, dtype=np.float32),
        version=version,
    )


def fit_sharpness(data: Prepared) -> tuple[float, float]:
    """By which the scores have to be multiplied so that likelihoods hold on registers that were not trained on."""
    registers = sorted({example.file for example in data.examples if example.file.startswith(REGISTER)})
    categories: list[tuple[Numbers, int]] = []
    subcategories: list[tuple[Numbers, int]] = []
    for register in registers:
        is_held_out = [example.file == register for example in data.examples]
        model = Model(train(data.only([not held for held in is_held_out]), "held out"))
        policy_words = [
            [name.removeprefix(f"{RULE}:") for name in names if name.startswith(f"{RULE}:")]
            for names in data.only(is_held_out).features
        ]
        for example, rules in zip(data.only(is_held_out).examples, policy_words, strict=True):
            found = model.likelihoods(sentences_of(example.text), rules)
            shares = np.array([found.of(category) for category in CATEGORIES])
            categories.append((np.log(shares + 1e-9), CATEGORIES.index(example.category)))
            if example.subcategory is not None and example.category is not None:
                inside = [sub for sub in SUBCATEGORIES if CATEGORY_OF[sub] is example.category]
                logs = np.log(found.subcategories(example.category) + 1e-9)
                subcategories.append((logs, inside.index(example.subcategory)))
    return _sharpest(categories), _sharpest(subcategories)


def version_of(policy: Policy) -> str:
    """Hash of all that decides about the model."""
    words = policy.model_dump_json(include={"words"})
    recipe = repr((IN_AT_LEAST, OWN_WEIGHT, STRICTNESS))
    return f"linear-2@{hashlib.sha256((hash_of_examples() + words + recipe).encode()).hexdigest()[:12]}"


def build(policy: Policy) -> Parameters:
    """The model for this policy."""
    data = prepare(policy)
    return train(data, version_of(policy), fit_sharpness(data))


def _table(features: list[list[str]], columns: dict[str, int], strengths: Numbers) -> csr_matrix:
    rows, places, values = [], [], []
    for row, names in enumerate(features):
        found = Counter(columns[name] for name in names if name in columns)
        length = sum(count * strengths[column] ** 2 for column, count in found.items()) ** 0.5 or 1.0
        for column, count in found.items():
            rows.append(row)
            places.append(column)
            values.append(count * strengths[column] / length)
    return csr_matrix((values, (rows, places)), shape=(len(features), len(columns)))


def _fit(table: csr_matrix, labels: npt.NDArray[np.int64], outputs: int) -> tuple[Numbers, Numbers]:
    regression = LogisticRegression(C=STRICTNESS, max_iter=400, class_weight="balanced").fit(table, labels)
    weights = np.zeros((table.shape[1], outputs))
    biases = np.full(outputs, -20.0)
    weights[:, regression.classes_] = regression.coef_.T
    biases[regression.classes_] = regression.intercept_
    return weights, biases


def _fit_inside(table: csr_matrix, labels: npt.NDArray[np.int64]) -> tuple[Numbers, Numbers]:
    """Of each category by itself: which of its subcategories."""
    weights = np.zeros((table.shape[1], len(SUBCATEGORIES)))
    biases = np.zeros(len(SUBCATEGORIES))
    for category in dict.fromkeys(CATEGORY_OF.values()):
        inside = [index for index, sub in enumerate(SUBCATEGORIES) if CATEGORY_OF[sub] is category]
        chosen = np.isin(labels, inside)
        places = np.searchsorted(inside, labels[chosen])
        weights[:, inside], biases[inside] = _fit(table[chosen], places, len(inside))
    return weights, biases


def _fit_danger(examples: list[Example], columns: dict[str, int], strengths: Numbers) -> tuple[Numbers, Numbers]:
    """Whether a text, or a sentence of it alone, tells of somebody in danger: no sentence of other texts does."""
    features, labels = [], []
    for example in examples:
        is_danger = example.subcategory in DANGERS
        if example.subcategory is Subcategory.CONTENT_MODERATION:
            continue
        sentences = sentences_of(example.text)
        pieces = [] if is_danger else list(pieces_of(sentences))
        for one in (sentences, *([piece] for piece in pieces)):
            features.append(known_features(one, ()))
            labels.append(int(is_danger))
    table = _table(features, columns, strengths)
    regression = LogisticRegression(C=STRICTNESS, max_iter=400, class_weight="balanced").fit(table, np.array(labels))
    return regression.coef_.T, regression.intercept_


def _sharpest(judged: list[tuple[Numbers, int]]) -> float:
    def loss(sharpness: float) -> float:
        return float(sum(np.log(np.exp(logs * sharpness).sum()) - logs[right] * sharpness for logs, right in judged))

    return round(float(min(SHARPNESS, key=loss)), 2) if judged else 1.0


def main() -> None:
    parameters = build(load_policy())
    MODEL.write_bytes(parameters.to_bytes())
    size = MODEL.stat().st_size // 1024
    sys.stdout.write(f"{MODEL.name}: {parameters.version}, {len(parameters.features)} features, {size} KiB\n")


if __name__ == "__main__":
    main()
