"""The adversarial set: `adversarial.jsonl`, texts written for this project to lead the classifier astray, and what must hold."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from router.training.judge import Judgement
from shared.vocabulary import Category, Subcategory


@dataclass(frozen=True, slots=True)
class Case:
    """One text; `expect` says what every reasonable reader would agree on."""

    id: str
    kind: str
    language: str
    subject: str
    text: str
    why: str
    expect: dict[str, Any] = field(default_factory=dict)

    @property
    def is_emergency(self) -> bool:
        """A real crisis, or real abuse of a child."""
        return bool(self.expect.get("crisis") or self.expect.get("abuse"))


def read_cases() -> list[Case]:
    """All cases; those with a filler are written out."""
    content = (files("router.training") / "adversarial.jsonl").read_text(encoding="utf-8")
    return [_case(json.loads(line)) for line in content.splitlines()]


def _case(fields: dict[str, Any]) -> Case:
    text = fields["text"]
    if repeat := fields.get("repeat"):
        filler = f"{repeat['filler']} " * repeat["times"]
        text = (filler if repeat.get("before") else "") + text + (f" {filler}" if repeat.get("after") else "")
    return Case(
        fields["id"], fields["kind"], fields["language"], fields["subject"], text, fields["why"], fields["expect"]
    )


def faults_of(case: Case, judgement: Judgement) -> list[str]:
    """What of the expectation does not hold."""
    return list(_faults(case.expect, judgement))


def _faults(expect: dict[str, Any], judgement: Judgement) -> Iterator[str]:
    subcategories = judgement.all_subcategories
    criteria = {met.criterion for met in judgement.ticket.criteria}
    if "category" in expect and judgement.category not in _listed(expect["category"]):
        yield f"category is {judgement.category}"
    if judgement.category is not None and judgement.category == expect.get("not_category"):
        yield f"category is {judgement.category}"
    if "subcategory" in expect and not subcategories & set(_listed(expect["subcategory"])):
        yield f"subcategories are {sorted(subcategories)}"
    if "secondary" in expect and not subcategories & set(_listed(expect["secondary"])):
        yield f"not kept: {expect['secondary']}"
    for name, kind in (("crisis", Subcategory.CRISIS_DETECTION), ("abuse", Subcategory.MANDATORY_REPORTING)):
        if expect.get(name) is True and judgement.category is not Category.SAFETY:
            yield f"{name} was missed"
        if expect.get(name) is False and kind in subcategories and judgement.category is not None:
            yield f"{name} was found"
    if missing := set(expect.get("criteria", ())) - criteria:
        yield f"criteria missed: {sorted(missing)}"
    if wrong := set(expect.get("not_criteria", ())) & criteria:
        yield f"criteria found: {sorted(wrong)}"


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
