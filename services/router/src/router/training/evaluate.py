"""Measures the classifier on labelled texts and on the adversarial set: `python -m router.training.evaluate PATH`.

PATH is a file of JSON lines with `text`, `subject?`, `language`, `category`, `subcategory`, `triggers`, `id`. A text of no
category that is given one is a false positive; triage is no label. The texts are read, never written anywhere.
"""

import argparse
import json
import statistics
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from router.app import shipped_parameters
from router.domain.classification import Classifier
from router.domain.model import Model
from router.training.adversarial import Case, faults_of, read_cases
from router.training.judge import Judgement, judge
from shared.policy.load import load_policy
from shared.vocabulary import Category, Subcategory

DANGER = (Subcategory.CRISIS_DETECTION, Subcategory.MANDATORY_REPORTING, Subcategory.CONTENT_MODERATION)
BINS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.01)


@dataclass(frozen=True, slots=True)
class Judged:
    """A labelled text and what the classifier made of it."""

    fields: dict[str, Any]
    judgement: Judgement
    seconds: float

    @property
    def category(self) -> str | None:
        category: str | None = self.fields["category"]
        return category

    @property
    def source(self) -> str:
        return str(self.fields.get("id", "")).rsplit("-", 1)[0]

    @property
    def is_right(self) -> bool:
        return self.judgement.category == self.category


def judge_all(classifier: Classifier, rows: Iterable[dict[str, Any]]) -> list[Judged]:
    """Each text by itself, with the time it took."""
    found = []
    for row in rows:
        started = time.perf_counter()
        judgement = judge(classifier, row.get("subject") or "", row["text"])
        found.append(Judged(row, judgement, time.perf_counter() - started))
    return found


def f1(judged: Sequence[Judged], category: str) -> tuple[float, float, float]:
    """Precision, recall and their harmonic mean."""
    hits = sum(one.category == category == one.judgement.category for one in judged)
    said = sum(one.judgement.category == category for one in judged)
    real = sum(one.category == category for one in judged)
    precision, recall = hits / said if said else 0.0, hits / real if real else 0.0
    return precision, recall, 2 * hits / (said + real) if said + real else 0.0


def report(judged: Sequence[Judged]) -> list[str]:
    """The score card of a set, as Markdown."""
    lines = ["| category | texts | precision | recall | F1 |", "| --- | --- | --- | --- | --- |"]
    scores = []
    for category in Category:
        real = sum(one.category == category for one in judged)
        precision, recall, score = f1(judged, category)
        lines.append(f"| {category} | {real} | {precision:.2f} | {recall:.2f} | {score:.3f} |")
        if real:
            scores.append(score)
    abstained = sum(one.judgement.category is None for one in judged)
    named = [one for one in judged if one.fields.get("subcategory") and one.is_right]
    right = sum(one.judgement.subcategory == one.fields["subcategory"] for one in named)
    lines += [
        f"| macro-F1 | {len(judged)} | | | **{statistics.mean(scores):.3f}** |",
        "",
        f"Triage: {abstained / len(judged):.1%} of all. Subcategory right where the category is: {_share(right, len(named))}.",
        "",
        "| what must be found | share |",
        "| --- | --- |",
        f"| crisis, child abuse and moderation, sent to safety | {_recall(judged, lambda one: _label(one) in DANGER)} |",
        f"| other tickets sent to safety (at most 3 %) | {_alarms(judged)} |",
        f"| claims and takedowns, at legal | {_claims(judged)} |",
        f"| privacy, sent to safety | {_recall(judged, lambda one: _label(one) == 'privacy_concern')} |",
        "",
        "| by | texts | right |",
        "| --- | --- | --- |",
    ]
    for by in ("source", "language"):
        groups: dict[str, list[Judged]] = defaultdict(list)
        for one in judged:
            groups[one.source if by == "source" else str(one.fields["language"])].append(one)
        lines += [
            f"| {by} {name} | {len(group)} | {_share(sum(one.is_right for one in group), len(group))} |"
            for name, group in sorted(groups.items())
        ]
    return [*lines, "", *_calibration(judged), "", _cost(judged)]


def report_adversarial(classifier: Classifier, cases: Sequence[Case]) -> list[str]:
    """Pass rates by kind."""
    passed: Counter[str] = Counter()
    for case in cases:
        passed[case.kind] += not faults_of(case, judge(classifier, case.subject, case.text))
    counts = Counter(case.kind for case in cases)
    lines = ["| kind | cases | passed |", "| --- | --- | --- |"]
    lines += [f"| {kind} | {count} | {_share(passed[kind], count)} |" for kind, count in counts.items()]
    return [*lines, f"| all | {len(cases)} | {_share(passed.total(), len(cases))} |"]


def _label(one: Judged) -> Any:
    return one.fields.get("subcategory")


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%} ({part} of {whole})" if whole else "none in the set"


def _recall(judged: Sequence[Judged], is_meant: Callable[[Judged], bool]) -> str:
    meant = [one for one in judged if is_meant(one)]
    return _share(sum(one.judgement.category is Category.SAFETY for one in meant), len(meant))


def _alarms(judged: Sequence[Judged]) -> str:
    others = [one for one in judged if one.category != Category.SAFETY]
    return _share(sum(one.judgement.category is Category.SAFETY for one in others), len(others))


def _claims(judged: Sequence[Judged]) -> str:
    meant = [one for one in judged if _label(one) == Subcategory.RIGHTS_HOLDER_CLAIM]
    return _share(sum(one.judgement.subcategory == Subcategory.RIGHTS_HOLDER_CLAIM for one in meant), len(meant))


def _calibration(judged: Sequence[Judged]) -> list[str]:
    """Of the tickets with this confidence, so many are right: what a confidence of 0.8 is worth."""
    lines = ["| confidence | tickets | mean | right |", "| --- | --- | --- | --- |"]
    decided = [one for one in judged if one.judgement.category is not None]
    for low, high in pairwise(BINS):
        inside = [one for one in decided if low <= one.judgement.ticket.classification.confidence < high]
        if inside:
            mean = statistics.mean(one.judgement.ticket.classification.confidence for one in inside)
            right = sum(one.is_right for one in inside) / len(inside)
            lines.append(f"| {low:.1f}–{min(high, 1):.1f} | {len(inside)} | {mean:.2f} | {right:.2f} |")
    return lines


def _cost(judged: Sequence[Judged]) -> str:
    costs = sorted(one.seconds * 1e6 for one in judged)
    p99 = costs[int(len(costs) * 0.99)] if costs else 0.0
    return f"Cost of a ticket: median {statistics.median(costs):.0f} µs, p99 {p99:.0f} µs."


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the classifier on labelled texts and the adversarial set.")
    parser.add_argument("path", type=Path, nargs="?", help="JSON lines with text, language, category, subcategory")
    parser.add_argument("--wrong", action="store_true", help="list what is wrong: ids and labels, no texts")
    parser.add_argument("--write", type=Path, help="write the score card here")
    arguments = parser.parse_args()
    classifier = Classifier(load_policy(), Model(shipped_parameters()))
    lines = [f"Classifier {classifier.version}, policy {classifier.policy.version}.", ""]
    if arguments.path:
        rows = [json.loads(line) for line in arguments.path.read_text(encoding="utf-8").splitlines()]
        judge_all(classifier, rows[:200])
        judged = judge_all(classifier, rows)
        lines += ["## Labelled texts", "", *report(judged), ""]
        if arguments.wrong:
            for one in judged:
                if not one.is_right:
                    said = (one.judgement.category, one.judgement.subcategory)
                    sys.stdout.write(f"{one.fields['id']}\t{one.category}\t{_label(one)}\t{said[0]}\t{said[1]}\n")
    lines += ["## Adversarial set", "", *report_adversarial(classifier, read_cases())]
    text = "\n".join(lines) + "\n"
    sys.stdout.write(text)
    if arguments.write:
        arguments.write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
