"""What a classification costs: prints JSON, µs of CPU a ticket, over examples and adversarial set; `make bench` shows it."""

import json
import statistics
import sys
import time
from collections.abc import Callable

from router.app import shipped_parameters
from router.domain.classification import Classifier, UpstreamWords
from router.domain.model import Model
from router.training.adversarial import read_cases
from router.training.examples import read_examples
from shared.policy.load import load_policy
from shared.vocabulary import Tier

Texts = tuple[str, str]


def measure(texts: list[Texts], judge: Callable[[Texts], object]) -> dict[str, float]:
    """Median, 99th percentile and mean, once everything has been seen and remembered."""
    for text in texts:
        judge(text)
    costs = []
    for text in texts:
        started = time.process_time_ns()
        judge(text)
        costs.append((time.process_time_ns() - started) / 1000)
    costs.sort()
    return {
        "median": round(statistics.median(costs)),
        "p99": round(costs[int(len(costs) * 0.99)]),
        "mean": round(statistics.mean(costs)),
    }


def main() -> None:
    classifier = Classifier(load_policy(), Model(shipped_parameters()))
    texts = [("", example.text) for example in read_examples()] + [(case.subject, case.text) for case in read_cases()]
    given = UpstreamWords("billing", "invoice_question")

    def with_category(text: Texts) -> object:
        return classifier.classify(text, classifier.read(*text), given, Tier.FREE)

    def by_words(text: Texts) -> object:
        return classifier.classify(text, classifier.read(*text), None, Tier.FREE)

    figures = {
        "tickets": {"count": len(texts)},
        "patterns": measure(texts, lambda text: classifier.read(*text)),
        "with_category": measure(texts, with_category),
        "by_words": measure(texts, by_words),
    }
    sys.stdout.write(json.dumps(figures))


if __name__ == "__main__":
    main()
