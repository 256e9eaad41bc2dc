"""The model that ships, the examples behind it, and the texts written to lead it astray."""

import re
from collections import Counter
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from router.app import shipped_parameters
from router.domain.classification import Classifier, UpstreamWords
from router.domain.model import CATEGORIES, SUBCATEGORIES, Model, Parameters
from router.training.adversarial import Case, faults_of, read_cases
from router.training.build import prepare, train, version_of
from router.training.evaluate import f1, judge_all, report, report_adversarial
from router.training.examples import read_examples
from router.training.judge import judge
from shared.policy.model import Policy
from shared.vocabulary import CATEGORY_OF, Category, Subcategory, Tier

CASES = read_cases()
SCORE_CARD = Path(__file__).parents[1] / "SCORECARD.md"


class TestTheExamples:
    def test_cover_every_subcategory_in_four_languages(self) -> None:
        """All 28 of C1, and what belongs to none."""
        counts = Counter((example.subcategory, example.language) for example in read_examples())
        for subcategory in (*Subcategory, None):
            for language in ("en", "es", "de", "fr"):
                assert counts[subcategory, language] >= 10, (subcategory, language)

    def test_are_said_once(self) -> None:
        """A text that stands twice would count twice."""
        texts = Counter(example.text.casefold() for example in read_examples())
        assert [text for text, count in texts.items() if count > 1] == []


class TestTheModel:
    def test_was_built_from_these_examples_and_words(self, policy: Policy) -> None:
        """Whoever changes either runs `make model`."""
        assert shipped_parameters().version == version_of(policy)

    def test_is_what_the_examples_lead_to(self, policy: Policy) -> None:
        """Built anew it has the same features, and the same weights but for the last digits of another machine."""
        shipped = shipped_parameters()
        again = Parameters.from_bytes(train(prepare(policy), shipped.version, tuple(shipped.sharpness)).to_bytes())
        assert again.features == shipped.features
        steps = np.abs(shipped.weights).max(axis=0) / 127
        assert (np.abs(again.weights - shipped.weights) / steps).max() < 2.5
        assert np.allclose(again.biases, shipped.biases, atol=0.02)

    def test_survives_its_file(self) -> None:
        """Bytes to parameters to bytes."""
        shipped = (files("router.training") / "model.npz").read_bytes()
        parameters = Parameters.from_bytes(shipped)
        again = Parameters.from_bytes(parameters.to_bytes())
        assert again.features == parameters.features
        assert np.allclose(again.weights, parameters.weights, atol=1e-5)

    def test_that_knows_nothing_leaves_patterns_to_decide(self, policy: Policy) -> None:
        """HD-57: without what was trained, safety and the law are found all the same, and the rest goes to a person (C3)."""
        outputs = len(CATEGORIES) + len(SUBCATEGORIES) + 1
        empty = Parameters(
            ("w:nothing",),
            np.ones(1, np.float32),
            np.zeros((1, outputs), np.float32),
            np.zeros(outputs, np.float32),
            np.ones(2, np.float32),
            "none",
        )
        degraded = Classifier(policy, Model(empty))
        assert judge(degraded, "", "I want to die").subcategory is Subcategory.CRISIS_DETECTION
        assert judge(degraded, "", "This is a DMCA notice").subcategory is Subcategory.RIGHTS_HOLDER_CLAIM
        assert judge(degraded, "", "I need my password").placement.clauses == ("C3",)

    def test_needs_nothing_but_the_text(self, classifier: Classifier) -> None:
        """HD-57: it is part of the process and a function of its words: the same answer however often, in whatever order."""
        texts = [case.text for case in CASES[:60]]
        first = [judge(classifier, "", text).ticket.classification for text in texts]
        again = [judge(classifier, "", text).ticket.classification for text in reversed(texts)]
        assert first == again[::-1]


@pytest.mark.parametrize("case", [case for case in CASES if case.is_emergency], ids=lambda case: case.id)
def test_no_real_crisis_and_no_real_abuse_is_missed(classifier: Classifier, case: Case) -> None:
    """However it is written and whatever stands around it (C4, E5, S6)."""
    assert judge(classifier, case.subject, case.text).category is Category.SAFETY


@pytest.mark.parametrize("case", [case for case in CASES if case.is_emergency], ids=lambda case: case.id)
def test_an_emergency_is_not_hidden_by_what_upstream_says(classifier: Classifier, case: Case) -> None:
    """HD-55: where patterns find it, a category from upstream does not overrule them (C4)."""
    reading = classifier.read(case.subject, case.text)
    if not reading.crisis:
        return
    upstream = UpstreamWords("billing", "invoice_question")
    decided = classifier.classify((case.subject, case.text), reading, upstream, Tier.FREE)
    assert decided.category is Category.SAFETY
    assert Subcategory.INVOICE_QUESTION in [topic.subcategory for topic in decided.secondary]


def test_the_adversarial_set_has_every_kind() -> None:
    """At least 300 cases, at least 100 of them emergencies, in four languages."""
    assert len(CASES) >= 300
    assert sum(case.is_emergency for case in CASES) >= 100
    assert {"en", "es", "de", "fr"} <= {case.language for case in CASES}
    kinds = {"negation", "story_content", "sarcasm", "typos", "leetspeak", "mixed_languages", "two_problems"}
    kinds |= {"safety_in_billing", "prompt_like", "very_long", "empty_or_emoji", "real_crisis", "real_abuse"}
    assert kinds <= {case.kind for case in CASES}
    assert len({case.id for case in CASES}) == len(CASES)


def test_the_adversarial_set_passes_nine_times_in_ten(classifier: Classifier) -> None:
    """What is wrong is read and listed by `make scorecard`; sarcasm and two problems in one breath are hard."""
    passed = sum(not faults_of(case, judge(classifier, case.subject, case.text)) for case in CASES)
    assert passed / len(CASES) >= 0.89


def test_the_score_card_is_that_of_this_classifier(classifier: Classifier) -> None:
    """Version and pass rates as they are; whoever changes the classifier runs `make scorecard`."""
    written = SCORE_CARD.read_text(encoding="utf-8")
    assert f"Classifier {classifier.version}, policy {classifier.policy.version}." in written
    assert "\n".join(report_adversarial(classifier, CASES)) in written


def test_what_is_wrong_counts_as_wrong(classifier: Classifier) -> None:
    """A text of no category that is given one is a false positive; triage is no label (C3)."""
    rows = [
        {"id": "a-1", "text": "I forgot my password", "language": "en", "category": "account", "subcategory": None},
        {"id": "a-2", "text": "I forgot my password", "language": "en", "category": None, "subcategory": None},
        {"id": "a-3", "text": "zzz", "language": "en", "category": "account", "subcategory": None},
    ]
    assert f1(judge_all(classifier, rows), "account") == (0.5, 0.5, 0.5)
    assert "| account | 2 | 0.50 | 0.50 | 0.500 |" in report(judge_all(classifier, rows))


@pytest.fixture(scope="module")
def held_out_judgements(policy: Policy) -> list[tuple[float, bool]]:
    """Confidence and whether it was right, for a register that the model was not trained on."""
    data = prepare(policy)
    held_out = [example.file == "register_bank_shop.tsv" for example in data.examples]
    sharpness = tuple(float(one) for one in shipped_parameters().sharpness)
    model = Model(train(data.only([not held for held in held_out]), "held out", sharpness))
    classifier = Classifier(policy, model)
    judged = [(judge(classifier, "", one.text), one) for one, held in zip(data.examples, held_out, strict=True) if held]
    return [
        (found.ticket.classification.confidence, found.category is one.category)
        for found, one in judged
        if found.category is not None
    ]


@pytest.mark.parametrize(("low", "high"), [(0.5, 0.7), (0.7, 0.9), (0.9, 1.01)])
def test_confidence_means_what_it_says(held_out_judgements, low: float, high: float) -> None:
    """Of the tickets with 0.8 about 80 % are right (C3)."""
    inside = [one for one in held_out_judgements if low <= one[0] < high]
    mean = sum(confidence for confidence, _ in inside) / len(inside)
    right = sum(is_right for _, is_right in inside) / len(inside)
    assert len(inside) >= 20
    assert abs(mean - right) < 0.17


def test_no_word_of_an_example_is_a_name_or_an_address() -> None:
    """What is committed is invented: no mail address, no telephone number."""
    odd = re.compile(r"[\w.]+@[\w.]+\.\w+|\+?\d[\d /-]{8,}\d")
    assert [example.text for example in read_examples() if odd.search(example.text)] == []


def test_every_label_is_a_word_of_c1() -> None:
    """And its category is the one that it belongs to."""
    for example in read_examples():
        assert example.subcategory is None or CATEGORY_OF[example.subcategory] is example.category
