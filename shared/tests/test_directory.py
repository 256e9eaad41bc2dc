"""The directory file: who can be reached, and what is wrong with it without saying whose address it was."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from shared.directory import ChannelKind, Directory, InvalidDirectory, OnCallRole
from shared.vocabulary import Team

AT = datetime(2026, 3, 3, 15, 0, tzinfo=UTC)
DEMO = (Path(__file__).parents[2] / "deploy/src/deploy/directory.yaml").read_text()


def test_the_demo_directory_reaches_every_team_and_every_role() -> None:
    """No step of a paging ladder is empty in the demo (S4)."""
    directory = Directory.from_yaml(DEMO)
    assert all(directory.on_duty(role, AT) for role in OnCallRole)
    assert all(
        directory.team_address(team) and directory.lead_address(team) for team in set(Team) - {Team.CHILD_SAFETY_AGENT}
    )


def test_a_role_nobody_holds_is_empty() -> None:
    """An empty step is the paging ladder's concern, not an error of the file (S4)."""
    directory = Directory.from_yaml(re.sub(r"  primary: .*\n", "", DEMO))
    assert directory.on_duty("primary", AT) == ()
    assert directory.on_duty("night_watch", AT) == ()


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


SCHEDULED = """
people: [{id: ada, email: ada@staff.example}, {id: ben, email: ben@staff.example}]
schedules:
  primary:
    rotations: [{zone: UTC, start: "2026-03-02T15:00", shift_hours: 24, members: [ada, ben]}]
"""


def scheduled(text: str = SCHEDULED) -> Directory:
    return Directory.from_yaml(re.sub(r"  primary: .*\n", "", DEMO) + text)


def test_a_scheduled_role_is_held_by_whoever_is_on_duty_then() -> None:
    """People are found at the time of sending (S4)."""
    directory = scheduled()
    assert [[one.id for one in directory.on_duty("primary", AT + timedelta(days=day))] for day in range(3)] == [
        ["ben"],
        ["ada"],
        ["ben"],
    ]


def test_whoever_held_a_role_meanwhile_is_found_beside_whoever_has_come() -> None:
    """SN-55: the outgoing person is not dropped, the incoming one is known apart."""
    directory = scheduled()
    handover = AT + timedelta(days=1)
    assert [one.id for one in directory.on_duty_since("primary", handover - timedelta(minutes=2), handover)] == [
        "ben",
        "ada",
    ]
    assert [one.id for one in directory.on_duty_since("primary", handover, handover)] == ["ada"]
    assert [one.id for one in directory.relieved_at("primary", handover)] == ["ada"]
    assert directory.relieved_at("primary", handover + timedelta(minutes=1)) == ()
    assert directory.handovers(["primary", "lead"], AT, AT + timedelta(days=2)) == [handover, AT + timedelta(days=2)]


def test_the_gaps_of_a_role_are_known_beforehand() -> None:
    """SN-08: a rotation of weekdays has nobody on Saturday and Sunday; a role of nobody is one gap."""
    weekdays = SCHEDULED.replace(
        "members:", 'hours: [{days: [mon, tue, wed, thu, fri], from: "00:00", until: "00:00"}], members:'
    )
    monday = datetime(2026, 3, 9, tzinfo=UTC)
    saturday = monday + timedelta(days=5)
    assert list(scheduled(weekdays).gaps("primary", monday, monday + timedelta(days=14))) == [
        (saturday, saturday + timedelta(days=2)),
        (saturday + timedelta(days=7), saturday + timedelta(days=9)),
    ]
    assert list(scheduled().gaps("night_watch", monday, saturday)) == [(monday, saturday)]
    assert list(scheduled().gaps("lead", monday, saturday)) == []


@pytest.mark.parametrize(
    ("was", "becomes", "says"),
    [
        ("email: ben@staff.example", "channels: []", "people.1: Value error, ben has no verified urgent channel"),
        (
            "email: ben@staff.example",
            "channels: [{kind: email, address: canary@x.example, urgent: true}]",
            "ben has no verified urgent channel, and whoever may be paged needs one (S4)",
        ),
        (
            "email: ben@staff.example",
            "channels: [{kind: email, address: canary@x.example, verified: true}]",
            "ben has no verified urgent channel",
        ),
        ("members: [ada, ben]", "members: [ada, cem]", "schedules.primary: nobody is called cem"),
        ("ben@staff.example}", "ben@staff.example}, {id: ada, email: canary@x.example}", "ada is described twice"),
        ("  primary:", "  secondary:", "secondary: either a list in on_call or a schedule"),
        ("zone: UTC", "zone: Mars/Olympus", "schedules.primary.rotations.0.zone: Value error, no such time zone"),
        ("shift_hours: 24", "shift_hours: 24, shift_days: 1", "either shift_days or shift_hours"),
        ("shift_hours: 24", "shift_hours: 24, hours: [{days: [mon], from: 17:00, until: '18:00'}]", "in quotes"),
        (
            "members: [ada, ben]}]",
            "members: [ada]}]\n    overrides: [{from: 2026-03-03T10:00:00Z, until: 2026-03-03T10:00:00Z, person: ben, "
            "created_at: 2026-03-01T00:00:00Z}]",
            "until must be after from",
        ),
    ],
)
def test_a_schedule_that_cannot_be_kept_is_refused(was: str, becomes: str, says: str) -> None:
    """SN-09, invariant 24: the message names the rule and the person, and no address."""
    with pytest.raises(InvalidDirectory) as refused:
        scheduled(SCHEDULED.replace(was, becomes, 1))
    assert says in str(refused.value)
    assert "canary" not in str(refused.value)


def test_every_way_to_a_person_that_rings_and_works_is_used() -> None:
    """Urgent channels are used together, others never for a page (S4)."""
    channels = (
        "channels: [{kind: email, address: pager@x.example, urgent: true, verified: true}, "
        "{kind: email, address: desk@x.example, verified: true}]"
    )
    directory = scheduled(SCHEDULED.replace("email: ben@staff.example", "email: ben@staff.example, " + channels))
    ben = directory.find_person("ben")
    assert ben is not None
    assert [one.address for one in ben.urgent_channels] == ["ben@staff.example", "pager@x.example"]
    assert list(ben.ways) == ["email", "email-2"]


@pytest.mark.parametrize(
    ("kind", "address"),
    [
        ("slack", "canary@staff.example"),
        ("slack", "ftp://canary.example"),
        ("webhook", "https://canary.example/a b"),
        ("webhook", "https://canary.example/\r\nx"),
        ("email", "https://canary.example"),
        ("apprise", "canary"),
        ("pigeon", "canary@staff.example"),
    ],
)
def test_a_channel_whose_address_is_not_of_its_kind_is_refused(kind: str, address: str) -> None:
    """The address of a channel is a secret: it stands in no message and in no `repr` (S5)."""
    channel = {"kind": kind, "address": address, "urgent": True, "verified": True}
    with pytest.raises(InvalidDirectory) as refused:
        with_channels(channel)
    assert "canary" not in str(refused.value)


def test_the_address_of_a_channel_does_not_show() -> None:
    channel = {"kind": "slack", "address": "https://hooks.example/canary", "urgent": True, "verified": True}
    directory = with_channels(channel)
    assert "canary" not in repr(directory)
    ways = [(kind, address) for whose, kind, address in directory.ways() if whose == "on-call-1"]
    assert (ChannelKind.SLACK, "https://hooks.example/canary") in ways
    (person,) = directory.on_duty("primary", AT)
    assert person.ways["slack"].address == "https://hooks.example/canary"


def with_channels(*channels: dict[str, object]) -> Directory:
    """The demo's, with these ways to its primary beside mail."""
    plain = yaml.safe_load(DEMO)
    plain["on_call"]["primary"][0]["channels"] = list(channels)
    return Directory.from_yaml(yaml.safe_dump(plain))
