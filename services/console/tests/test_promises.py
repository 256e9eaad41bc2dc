"""What `supportctl policy diff` and `policy retarget` ask of a small real server, and their lines."""

from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from console.promises import Promises
from console.services import Unanswered
from console.settings import Installation

Answering = Any

OUTCOME = {
    "policy_version": "2026.1@c",
    "tickets": 5,
    "clocks": 14,
    "moved": 2,
    "unchanged": 11,
    "breached_at_once": 1,
    "started": 0,
    "cancelled": 1,
    "restated": 0,
    "failed": 0,
    "changes": [
        {"ticket_id": "T-1", "milestone": "initial_response", "cycle": 1, "turn": "retargeted", "from": "a", "to": "b"},
        {"ticket_id": "T-2", "milestone": "escalation", "cycle": 2, "turn": "cancelled", "from": "c", "to": None},
        {"ticket_id": "T-3", "milestone": "resolution", "cycle": 1, "turn": "retargeted", "from": "d", "to": "e"},
    ],
}
LINES = [
    "  1 breached at once, 11 unchanged",
    "  1 cancelled",
    "  T-1 initial_response 1: retargeted a -> b",
    "  T-2 escalation 2: cancelled c -> -",
    "  and 1 more",
]


@pytest.fixture
def monitor(answering: Answering) -> Answering:
    return answering


@pytest.fixture
def promises(monitor: Answering) -> Promises:
    services = {"sla-monitor": monitor.url}
    return Promises(Installation(kafka="127.0.0.1:9", api_key=SecretStr("a-key"), services=services))


def test_a_draft_of_changes_is_sent_as_changes(monitor: Answering, promises: Promises, tmp_path: Path) -> None:
    """L11: how many due times would move, how many are breached at once, and the first of them."""
    monitor.answers(OUTCOME)
    draft = tmp_path / "draft.yaml"
    draft.write_text("clocks: {warn_at: [0.5]}\n")
    assert list(promises.diff(draft, 2)) == [
        "2 of 14 due times on 5 open tickets would move under 2026.1@c",
        *LINES,
    ]
    assert monitor.asked == [("POST", "/v1/drafts", "Bearer a-key", {"changes": {"clocks": {"warn_at": [0.5]}}})]


def test_a_whole_policy_is_sent_as_a_policy(monitor: Answering, promises: Promises, tmp_path: Path) -> None:
    """So that what it does not name any more is gone."""
    monitor.answers(OUTCOME)
    file = tmp_path / "policy.yaml"
    file.write_text((files("shared.policy") / "policy.yaml").read_text())
    assert len(list(promises.diff(file, 3))) == 6
    ((_, _, _, body),) = monitor.asked
    assert list(body) == ["policy"]


@pytest.mark.parametrize(("dry_run", "verb"), [(True, "would move"), (False, "moved")])
def test_a_retarget_tells_what_it_did_or_would_do(
    monitor: Answering, promises: Promises, dry_run: bool, verb: str
) -> None:
    monitor.answers(OUTCOME)
    told = list(promises.retarget("2026.1@c", 2, dry_run=dry_run))
    assert told == [f"2 of 14 due times on 5 open tickets {verb} to 2026.1@c", *LINES]
    body = {"policy_version": "2026.1@c", "dry_run": dry_run}
    assert monitor.asked == [("POST", "/v1/retargets", "Bearer a-key", body)]


def test_a_refusal_is_a_sentence(monitor: Answering, promises: Promises) -> None:
    monitor.answers({"title": "The policy is not in force"}, 409)
    with pytest.raises(Unanswered, match="409: The policy is not in force"):
        list(promises.retarget("x", 2, dry_run=False))


def test_a_file_that_is_no_draft_is_refused_here(promises: Promises, monitor: Answering, tmp_path: Path) -> None:
    with pytest.raises(Unanswered, match="cannot be read as YAML"):
        list(promises.diff(tmp_path / "missing.yaml", 2))
    assert monitor.asked == []
