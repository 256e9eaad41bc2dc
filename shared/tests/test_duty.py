"""Schedules: exactly one person at each instant of a rotation, whatever the clocks on the wall do."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.duty import Schedule, instant

BERLIN = ZoneInfo("Europe/Berlin")
CLOCKS_BACK = datetime(2026, 10, 25, 1, 0, tzinfo=UTC)
CLOCKS_FORWARD = datetime(2026, 3, 29, 1, 0, tzinfo=UTC)
YEAR_BEFORE, YEAR = datetime.fromisoformat("2025-01-01"), datetime.fromisoformat("2026-01-01")
ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Casablanca", "UTC"]


def schedule(*overrides: dict[str, Any], **rotation: Any) -> Schedule:
    plain = {"zone": "Europe/Berlin", "start": "2026-01-05T09:00", "shift_days": 7, "members": ["ada", "ben", "cem"]}
    if "shift_hours" in rotation:
        del plain["shift_days"]
    return Schedule.model_validate({"rotations": [plain | rotation], "overrides": overrides})


def override(begins: str, ends: str, person: str, *, created: str) -> dict[str, Any]:
    return {
        "from": f"2026-01-07T{begins}:00Z",
        "until": f"2026-01-07T{ends}:00Z",
        "person": person,
        "created_at": f"2026-01-{created}T00:00:00Z",
    }


def test_members_take_turns_at_nine_in_the_morning_of_their_zone() -> None:
    """In winter that is 08:00 UTC, in summer 07:00; whoever comes has the first instant, whoever goes has not (SN-56)."""
    duty = schedule()
    assert duty.person(datetime(2026, 1, 5, 7, 59, 59, tzinfo=UTC)) is None
    assert duty.person(datetime(2026, 1, 5, 8, tzinfo=UTC)) == "ada"
    assert duty.person(datetime(2026, 1, 12, 7, 59, 59, tzinfo=UTC)) == "ada"
    assert duty.person(datetime(2026, 1, 12, 8, tzinfo=UTC)) == "ben"
    assert duty.person(datetime(2026, 6, 1, 6, 59, tzinfo=UTC)) == "cem"
    assert duty.person(datetime(2026, 6, 1, 7, tzinfo=UTC)) == "ada"


@pytest.mark.parametrize("night", [CLOCKS_BACK, CLOCKS_FORWARD])
@pytest.mark.parametrize("start", ["2026-01-05T02:30", "2026-01-05T02:00", "2026-01-05T03:00"])
@pytest.mark.parametrize("length", [{"shift_hours": 1}, {"shift_hours": 12}, {"shift_days": 1}])
def test_in_the_night_of_the_clock_change_there_is_exactly_one_primary_each_minute(
    night: datetime, start: str, length: dict[str, int]
) -> None:
    """SN-56: nobody comes back to a shift that is over, members follow each other in turn, no minute is empty."""
    duty = schedule(start=start, **length)
    minutes = [duty.person(night + timedelta(minutes=minute)) for minute in range(-300, 301)]
    turns = [person for number, person in enumerate(minutes) if number == 0 or minutes[number - 1] != person]
    order = ["ada", "ben", "cem"]
    skipped = length == {"shift_hours": 1} and night == CLOCKS_FORWARD
    assert None not in minutes
    for one, following in pairwise(turns):
        turn = (order.index(str(following)) - order.index(str(one))) % 3
        assert turn == 1 or (skipped and turn == 2)  # the hour that the wall skips is nobody's hour


@pytest.mark.parametrize(
    ("wall", "utc"),
    [
        ("2026-10-25T01:59", "2026-10-24T23:59"),
        ("2026-10-25T02:30", "2026-10-25T00:30"),
        ("2026-10-25T03:00", "2026-10-25T02:00"),
        ("2026-03-29T01:59", "2026-03-29T00:59"),
        ("2026-03-29T02:00", "2026-03-29T01:00"),
        ("2026-03-29T02:30", "2026-03-29T01:00"),
        ("2026-03-29T03:00", "2026-03-29T01:00"),
    ],
)
def test_a_wall_time_is_its_first_instant_or_the_leap(wall: str, utc: str) -> None:
    """SN-56"""
    assert instant(datetime.fromisoformat(wall), BERLIN) == datetime.fromisoformat(utc).replace(tzinfo=UTC)


def test_the_latest_override_wins_over_the_rotation_and_over_older_ones() -> None:
    """4.5: overrides beat rotations, of several the one created last; half-open like shifts."""
    duty = schedule(
        override("12", "18", "dan", created="06"), override("13", "15", "eve", created="07"),
        override("14", "16", "fay", created="05"),
    )  # fmt: skip
    on_duty = {hour: duty.person(datetime(2026, 1, 7, hour, tzinfo=UTC)) for hour in (11, 12, 13, 14, 15, 17, 18)}
    assert on_duty == {11: "ada", 12: "dan", 13: "eve", 14: "eve", 15: "dan", 17: "dan", 18: "ada"}
    assert duty.members == {"ada", "ben", "cem", "dan", "eve", "fay"}


def test_outside_its_hours_a_rotation_gives_way_to_the_next_one() -> None:
    """Days by one team, nights by another; a night's hours end on the next day."""
    day = {"days": ["mon", "tue", "wed", "thu", "fri"], "from": "08:00", "until": "20:00"}
    night = {"days": ["mon", "tue", "wed", "thu", "fri"], "from": "20:00", "until": "08:00"}
    plain = {"zone": "America/New_York", "start": "2026-01-05T00:00", "shift_days": 7}
    duty = Schedule.model_validate(
        {
            "rotations": [
                plain | {"members": ["ada"], "hours": [day]},
                plain | {"members": ["nic"], "hours": [night]},
            ]
        }
    )
    friday = datetime(2026, 1, 9, 13, 0, tzinfo=UTC)  # 08:00 in New York
    assert [duty.person(friday + timedelta(hours=hours)) for hours in (-1, 0, 11, 12, 23, 24)] == [
        "nic", "ada", "ada", "nic", "nic", None,
    ]  # fmt: skip
    assert list(duty.handovers(friday, friday + timedelta(days=3))) == [
        friday + timedelta(hours=12),
        friday + timedelta(hours=24),
        friday + timedelta(days=3),
    ]


@settings(deadline=None, max_examples=50)
@given(
    zone=st.sampled_from(ZONES),
    start=st.datetimes(YEAR_BEFORE, YEAR_BEFORE + timedelta(days=364)),
    length=st.one_of(
        st.builds(lambda n: {"shift_hours": n}, st.integers(1, 50)),
        st.builds(lambda n: {"shift_days": n}, st.integers(1, 10)),
    ),
    members=st.integers(1, 4),
    after=st.datetimes(YEAR, YEAR + timedelta(days=334), timezones=st.just(UTC)),
)
def test_handovers_are_just_the_instants_at_which_the_person_changes(
    zone: str, start: datetime, length: dict[str, int], members: int, after: datetime
) -> None:
    """SN-55, SN-56: between two of them the person is one and the same, at each of them another; nobody is ever missing."""
    duty = schedule(zone=zone, start=start, members=[f"m{n}" for n in range(members)], **length)
    until = after + timedelta(days=3)
    handovers = list(duty.handovers(after, until))
    minutes = [after + timedelta(minutes=minute) for minute in range(0, 3 * 24 * 60, 13)]
    edges = [after, *handovers]
    for at in minutes:
        last = max(edge for edge in edges if edge <= at)
        assert duty.person(at) == duty.person(last) is not None
    for at in handovers:
        assert duty.person(at) != duty.person(at - timedelta(microseconds=1))
