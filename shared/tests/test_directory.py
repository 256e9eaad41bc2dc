"""The directory file: who can be reached, and what is wrong with it without saying whose address it was."""

import re
from pathlib import Path

import pytest

from shared.directory import Directory, InvalidDirectory, OnCallRole
from shared.vocabulary import Team

DEMO = (Path(__file__).parents[2] / "deploy/src/deploy/directory.yaml").read_text()


def test_the_demo_directory_reaches_every_team_and_every_role() -> None:
    """No step of a paging ladder is empty in the demo (S4)."""
    directory = Directory.from_yaml(DEMO)
    assert all(directory.people(role) for role in OnCallRole)
    assert all(
        directory.team_address(team) and directory.lead_address(team) for team in set(Team) - {Team.CHILD_SAFETY_AGENT}
    )


def test_a_role_nobody_holds_is_empty() -> None:
    """An empty step is the paging ladder's concern, not an error of the file (S4)."""
    directory = Directory.from_yaml(re.sub(r"  primary: .*\n", "", DEMO))
    assert directory.people("primary") == ()
    assert directory.people("night_watch") == ()


def test_the_agent_has_no_inbox() -> None:
    """The Child Safety Agent is a system; people are told through `also_notified` (R5)."""
    assert Directory.from_yaml(DEMO).team_address(Team.CHILD_SAFETY_AGENT) is None


@pytest.mark.parametrize(
    ("was", "becomes", "place"),
    [
        ("safety@storytailor.example", "canary address@storytailor.example", "teams.safety.address"),
        ("on-call-manager@storytailor.example", '"canary@x\\r\\nBcc: y@z"', "on_call.last_responder.0.email"),
        ("primary:", "canary_role:", "on_call"),
        ("  legal: ", "  canary_team: ", "teams"),
    ],
)
def test_what_is_wrong_is_named_by_its_place_and_never_by_its_value(was: str, becomes: str, place: str) -> None:
    """Start-up errors land in logs, and logs carry no addresses (S5)."""
    with pytest.raises(InvalidDirectory) as refused:
        Directory.from_yaml(DEMO.replace(was, becomes, 1))
    assert place in str(refused.value)
    assert "canary address" not in str(refused.value)
    assert "Bcc" not in str(refused.value)


def test_a_file_that_is_not_yaml_is_refused() -> None:
    with pytest.raises(InvalidDirectory):
        Directory.from_yaml("teams: [")
