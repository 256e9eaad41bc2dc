"""What `supportctl` says of decisions, asked of a small real server: its lines, its requests, and its sentences of failure."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from console.decisions import Decisions
from console.services import Unanswered
from console.settings import Installation

Answering = Any
DECISION = {
    "type": "com.storytailor.support.routing.assigned.v1",
    "occurred_at": "2026-03-03T15:00:00.000000Z",
    "team": "finance",
    "level": 2,
    "clauses": ["C2", "E3"],
    "category": "billing",
    "subcategory": None,
    "confidence": 0.87,
    "secondary": [],
    "alternatives": [{"category": "account", "subcategory": "login", "confidence": 0.1}],
    "evidence": ["feature.1", "event.complex_billing"],
    "related": ["T-2", "T-3"],
    "suggestions": [{"hint": "duplicate", "of": "T-2"}, {"hint": "spam", "of": None}],
}
RISE = {
    "type": "com.storytailor.support.routing.escalated.v1",
    "occurred_at": "2026-03-03T16:00:00.000000Z",
    "team": "executive",
    "from_level": 2,
    "to_level": 3,
    "clauses": ["C2", "E3"],
    "category": None,
    "subcategory": None,
    "criterion": "special_pricing",
    "origin": "person",
    "related": [],
}
WORDS = {
    "rules": [["legal_action_threatened.en.1", "legal action"]],
    "words": [
        {"feature_id": "feature.1", "word": "refund", "weight": 63.4},
        {"feature_id": "feature.2", "word": "my", "weight": 2.0},
    ],
}
SAME = {
    "ticket_id": "T-1",
    "same": True,
    "decisions": 2,
    "differences": [],
    "policy_versions": ["2026.1@a", "2026.1@b"],
    "classifier_versions": ["m1"],
    "classifier_here": "m1",
}
TRIAL = {
    "policy_version": "2026.1@c",
    "tickets": 10,
    "changed": 1,
    "by_team": {"finance -> executive": 1},
    "moved": [
        {
            "ticket_id": "T-2",
            "was": {"category": "billing", "subcategory": "refund_request", "team": "finance", "level": 2},
            "now": {"category": None, "subcategory": None, "team": "executive", "level": 3},
        }
    ],
}


def decisions_at(**services: str) -> Decisions:
    return Decisions(Installation(kafka="127.0.0.1:9", api_key=SecretStr("a-key"), services=services))


@pytest.fixture
def decisions(router: Answering) -> Decisions:
    return decisions_at(router=router.url)


@pytest.fixture
def draft(tmp_path: Path) -> Path:
    file = tmp_path / "draft.yaml"
    file.write_text("classification: {triage_below: {billing: 0.99}}\n")
    return file


def test_an_explanation_is_each_decision_and_the_words_behind_it(router: Answering, decisions: Decisions) -> None:
    """R8, in the order of the decisions; a decision that no words led to shows none (S5)."""
    router.answers(
        {
            "ticket_id": "T-1",
            "decisions": [{"decision": DECISION, "explanation": WORDS}, {"decision": RISE, "explanation": None}],
        }
    )
    assert list(decisions.explain("T-1")) == [
        "2026-03-03T15:00:00.000000Z  assigned: finance, level 2, by C2, E3",
        "  is about billing/-, confidence 0.87",
        "  considered account/login 0.1",
        "  evidence feature.1, event.complex_billing",
        "  one matter with T-2, T-3",
        "  looks like duplicate of T-2",
        "  looks like spam",
        "  words legal_action_threatened.en.1: legal action",
        "  weighed refund 63.4, my 2.0",
        "2026-03-03T16:00:00.000000Z  escalated: executive, level 3, by C2, E3",
        "  is about triage/-, confidence -",
        "  raised by special_pricing (person)",
    ]
    assert router.asked == [("GET", "/v1/tickets/T-1/explain", "Bearer a-key", None)]


def test_a_rise_that_may_be_undone_is_offered_after_the_decisions(router: Answering, decisions: Decisions) -> None:
    """HD-65: the breach behind it was withdrawn (L13, R9)."""
    router.answers({"decisions": [{"decision": RISE, "explanation": None}], "undo_to": 1})
    offered = "the breach that raised it was withdrawn: a person may lower it to level 1"
    assert list(decisions.explain("T-1"))[-1] == offered


def test_a_ticket_at_level_0_is_shown_at_level_0(router: Answering, decisions: Decisions) -> None:
    """R5: level 0 is a level, and not no level at all."""
    router.answers({"decisions": [{"decision": DECISION | {"level": 0}, "explanation": None}]})
    assert next(decisions.explain("T-1")).endswith("finance, level 0, by C2, E3")


@pytest.mark.parametrize(
    ("ticket_id", "path"),
    [("T-1", "T-1"), ("a/b", "a%2Fb"), ("a?b#c", "a%3Fb%23c"), ("ü 1", "%C3%BC%201")],
)
def test_a_ticket_is_asked_for_by_its_own_id(
    router: Answering, decisions: Decisions, ticket_id: str, path: str
) -> None:
    """An id of upstream is kept verbatim, whatever letters it has."""
    router.answers(SAME | {"decisions": []})
    assert list(decisions.explain(ticket_id)) == []
    decisions.recompute(ticket_id)
    assert [path for _, path, *_ in router.asked] == [f"/v1/tickets/{path}/explain", f"/v1/tickets/{path}/recompute"]


RECOMPUTED = {
    "the same": ({}, (True, "the same result: 2 decisions by 2026.1@a, 2026.1@b")),
    "different": (
        {"same": False, "differences": ["1.team", "2.to_level"]},
        (False, "differs in 1.team, 2.to_level: 2 decisions by 2026.1@a, 2026.1@b"),
    ),
    "by another classifier": (
        {"same": False, "differences": ["1.classifier_version"], "classifier_here": "m2"},
        (
            False,
            "differs in 1.classifier_version: 2 decisions by 2026.1@a, 2026.1@b; decided by m1, here is m2",
        ),
    ),
}


@pytest.mark.parametrize(("changes", "expected"), RECOMPUTED.values(), ids=list(RECOMPUTED))
def test_a_recomputation_is_one_sentence(router: Answering, decisions: Decisions, changes, expected) -> None:
    """R8: whether it is the same, by which policies, and where it differs."""
    router.answers(SAME | changes)
    assert decisions.recompute("T-1") == expected
    assert router.asked == [("POST", "/v1/tickets/T-1/recompute", "Bearer a-key", None)]


def test_a_draft_is_sent_as_it_stands_and_its_moves_are_told(
    router: Answering, decisions: Decisions, draft: Path
) -> None:
    """R8: how many of how many, from which team to which, and each ticket."""
    router.answers(TRIAL)
    assert list(decisions.try_draft(draft, 10)) == [
        "1 of 10 tickets would stand elsewhere under 2026.1@c",
        "       1 finance -> executive",
        "  T-2: billing/refund_request finance level 2 -> triage/- executive level 3",
    ]
    changes = {"classification": {"triage_below": {"billing": 0.99}}}
    assert router.asked == [("POST", "/v1/drafts", "Bearer a-key", {"changes": changes, "last": 10})]


def test_a_draft_may_name_days_and_levels_as_the_policy_does(
    router: Answering, decisions: Decisions, tmp_path: Path
) -> None:
    """L2: what YAML reads as a date or a number is a name in the policy."""
    router.answers(TRIAL)
    file = tmp_path / "draft.yaml"
    file.write_text(
        "clocks: {calendar: {closed_days: {2026-12-24: Eve}}}\nrouting: {teams: {billing: {levels: {1: finance}}}}"
    )
    list(decisions.try_draft(file, 1))
    assert router.asked[0][3]["changes"] == {
        "clocks": {"calendar": {"closed_days": {"2026-12-24": "Eve"}}},
        "routing": {"teams": {"billing": {"levels": {"1": "finance"}}}},
    }


@pytest.mark.parametrize("content", [None, b"a: [", b"\xff\xfe\x00"], ids=["no file", "no YAML", "no text"])
def test_a_draft_that_cannot_be_read_is_said_so(
    router: Answering, decisions: Decisions, tmp_path: Path, content
) -> None:
    """Before anybody is asked."""
    file = tmp_path / "draft.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(Unanswered, match=r"draft\.yaml cannot be read as YAML$"):
        list(decisions.try_draft(file, 10))
    assert router.asked == []


def test_corrections_are_told_by_version_and_category(router: Answering, decisions: Decisions) -> None:
    """C3: from triage, or from one category to another, and how sure the classifier had been."""
    row = {
        "classifier_version": "m1",
        "was_category": None,
        "category": "billing",
        "corrections": 3,
        "confidence": 0.414,
    }
    router.answers({"days": 7, "corrections": [row, row | {"was_category": "account"}]})
    assert list(decisions.corrections(7)) == [
        "m1  triage -> billing: 3 times, confidence 0.41",
        "m1  account -> billing: 3 times, confidence 0.41",
    ]
    assert router.asked == [("GET", "/v1/corrections?days=7", "Bearer a-key", None)]


def test_no_corrections_are_told_too(router: Answering, decisions: Decisions) -> None:
    """A sentence instead of silence."""
    router.answers({"days": 7, "corrections": []})
    assert list(decisions.corrections(7)) == ["nothing was corrected in 7 days"]


QUESTIONS: dict[str, Callable[[Decisions, Path], object]] = {
    "explain": lambda decisions, _: list(decisions.explain("T-1")),
    "recompute": lambda decisions, _: decisions.recompute("T-1"),
    "try": lambda decisions, draft: list(decisions.try_draft(draft, 10)),
    "corrections": lambda decisions, _: list(decisions.corrections(30)),
}
INVALID = {
    "title": "The request does not mean anything we know",
    "errors": [{"pointer": "/changes/a", "detail": "extra_forbidden"}, {"pointer": "/last", "detail": "too much"}],
}
FAILURES = {
    "forbidden": (
        403,
        {"title": "This key may not do that", "scope": "operate"},
        "router answered 403: This key may not do that",
    ),
    "not found": (404, {"title": "There is nothing here"}, "router answered 404: There is nothing here"),
    "conflict": (
        409,
        {"title": "The policy is not kept", "clause": "R8"},
        "router answered 409: The policy is not kept",
    ),
    "invalid": (
        422,
        INVALID,
        "router answered 422: The request does not mean anything we know; /changes/a extra_forbidden; /last too much",
    ),
    "no problem document": (502, b"<html>", "router answered 502: Bad Gateway"),
}


@pytest.mark.parametrize("ask", QUESTIONS.values(), ids=list(QUESTIONS))
@pytest.mark.parametrize(("status", "document", "sentence"), FAILURES.values(), ids=list(FAILURES))
def test_a_refusal_is_a_sentence(
    router: Answering, decisions: Decisions, draft: Path, ask, status: int, document, sentence: str
) -> None:
    """The status, what the problem document says, and the places that are wrong."""
    router.answers(document, status)
    with pytest.raises(Unanswered) as failure:
        ask(decisions, draft)
    assert str(failure.value) == sentence


@pytest.mark.parametrize("ask", QUESTIONS.values(), ids=list(QUESTIONS))
def test_a_router_that_is_away_is_a_sentence(router: Answering, draft: Path, ask) -> None:
    """Its name and the kind of failure, no address."""
    decisions = decisions_at(router=router.url)
    router._server.server_close()
    with pytest.raises(Unanswered, match=r"^router did not answer: ConnectError$"):
        ask(decisions, draft)


@pytest.mark.parametrize("ask", QUESTIONS.values(), ids=list(QUESTIONS))
def test_a_router_without_an_address_is_a_sentence(draft: Path, ask) -> None:
    """An installation may not have one."""
    with pytest.raises(Unanswered, match=r"^there is no address for router$"):
        ask(decisions_at(), draft)
