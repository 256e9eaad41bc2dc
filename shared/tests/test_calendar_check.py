"""The calendar check names everything that is wrong, with its place, and errs on no ordinary calendar (L3)."""

from datetime import date
from importlib.resources import files
from typing import Any

import pytest
import yaml

from shared.policy.calendar_check import Weight, check_calendar, check_document, dotted
from shared.policy.load import load_policy
from shared.policy.model import WEEKDAYS, CalendarPolicy, Holidays
from shared.policy.public_holidays import UnknownHolidays, public_holidays

TODAY = date(2026, 3, 2)
ERROR, WARNING = Weight.ERROR, Weight.WARNING
OFFICE = {key: ["09:00-17:00"] for key in WEEKDAYS[:5]}


def a_document(**changed: Any) -> dict[str, Any]:
    calendar = {"id": "test", "zone": "Europe/Berlin", "nominal_day_minutes": 480, "opening_hours": OFFICE}
    targets = {"free": {"resolution": "5 business_days", "initial_response": "48 hours"}}
    return {"clocks": {"targets": targets, "calendar": calendar | changed}}


def found(**changed: Any) -> list[tuple[Weight, str, str]]:
    return [
        (one.weight, one.code, dotted(one.place).removeprefix("clocks.calendar."))
        for one in check_document(a_document(**changed), TODAY)
    ]


def test_the_calendar_that_ships_and_an_ordinary_one_are_without_fault() -> None:
    """(L2)"""
    shipped = yaml.safe_load((files("shared.policy") / "policy.yaml").read_text())
    assert check_document(shipped, TODAY) == ()
    assert check_calendar(load_policy().clocks.calendar) == ()
    assert found() == []


CASES: dict[str, tuple[dict[str, Any], list[tuple[Weight, str, str]]]] = {
    "it never opens": ({"opening_hours": {}}, [(ERROR, "never_opens", "opening_hours")]),
    "windows of a day overlap": (
        {"opening_hours": OFFICE | {"monday": ["12:00-17:00", "09:00-13:00"]}},
        [(ERROR, "overlap", "opening_hours.monday[0]")],
    ),
    "a shift runs into the next day": (
        {"opening_hours": OFFICE | {"monday": ["09:00-17:00", "22:00-10:00"]}},
        [(ERROR, "overlap", "opening_hours.monday[1]")],
    ),
    "the shift of Sunday runs into Monday": (
        {"opening_hours": OFFICE | {"sunday": ["22:00-09:30"]}},
        [(ERROR, "overlap", "opening_hours.sunday[0]")],
    ),
    "a window closes when it opens": (
        {"opening_hours": OFFICE | {"friday": ["09:00-17:00", "18:00-18:00"]}},
        [(ERROR, "empty_window", "opening_hours.friday[1]")],
    ),
    "a day is closed and special": (
        {"closed_days": {date(2026, 5, 1): "May Day"}, "special_days": {date(2026, 5, 1): ["09:00-12:00"]}},
        [(ERROR, "closed_and_special", "special_days.2026-05-01")],
    ),
    "special hours overlap": (
        {"special_days": {date(2026, 5, 4): ["09:00-12:00", "11:00-13:00"]}},
        [(ERROR, "overlap", "special_days.2026-05-04[1]")],
    ),
    "special hours run into the next day": (
        {"special_days": {date(2026, 5, 4): ["20:00-10:00"]}},
        [(ERROR, "overlap", "special_days.2026-05-04[0]")],
    ),
    "the shift before runs into special hours": (
        {
            "opening_hours": {key: ["22:00-06:00"] for key in WEEKDAYS},
            "special_days": {date(2026, 5, 4): ["05:00-09:00"]},
        },
        [(ERROR, "overlap", "special_days.2026-05-04")],
    ),
    "a weekday is misspelt": (
        {"opening_hours": OFFICE | {"wendesday": ["09:00-17:00"]}},
        [(ERROR, "weekday", "opening_hours.wendesday")],
    ),
    "a window cannot be read": (
        {"opening_hours": OFFICE | {"monday": ["9-17"]}},
        [(ERROR, "unreadable", "opening_hours.monday[0]")],
    ),
    "the zone is unknown": ({"zone": "Europe/Atlantis"}, [(ERROR, "zone", "zone")]),
    "the country is unknown": ({"holidays": {"country": "XX"}}, [(ERROR, "holidays", "holidays")]),
    "the part of the country is unknown": (
        {"holidays": {"country": "DE", "subdivision": "XX"}},
        [(ERROR, "holidays", "holidays")],
    ),
    "special hours do not exist": (
        {"special_days": {date(2026, 3, 29): ["02:00-03:00", "09:00-17:00"]}},
        [(ERROR, "skipped_hour", "special_days.2026-03-29[0]")],
    ),
    "usual hours do not exist once a year": (
        {"opening_hours": OFFICE | {"sunday": ["02:15-02:45", "08:00-15:30"]}},
        [(WARNING, "skipped_hour", "opening_hours.sunday[0]")],
    ),
    "no weekday is a nominal day": ({"nominal_day_minutes": 420}, [(WARNING, "nominal_day", "nominal_day_minutes")]),
    "a day is in no year that is known": (
        {"closed_days": {date(2206, 5, 1): "May Day"}},
        [(WARNING, "outside_horizon", "closed_days.2206-05-01")],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_is_named_with_its_place(case: str) -> None:
    """(L3)"""
    changed, expected = CASES[case]
    assert found(**changed) == expected


def test_everything_is_named_at_once() -> None:
    """What cannot be read does not hide the rest (L3)."""
    changed = {
        "zone": "Europe/Atlantis",
        "opening_hours": {"monday": ["9-17", "10:00-10:00"], "tuseday": ["09:00-17:00"], "friday": "always"},
        "closed_days": {date(2026, 5, 1): "May Day", "someday": "closed"},
        "special_days": {date(2026, 5, 1): ["09:00-12:00"]},
    }
    assert {place for _, _, place in found(**changed)} == {
        "opening_hours.tuseday",
        "opening_hours.monday[0]",
        "opening_hours.friday",
        "closed_days.someday",
        "special_days.2026-05-01",
        "zone",
    }


def test_sentences_say_what_to_do() -> None:
    """The day and the window are named (L3)."""
    sunday = OFFICE | {"wendesday": [], "sunday": ["02:00-03:00", "09:00-17:00"]}
    texts = [one.text for one in check_document(a_document(opening_hours=sunday), TODAY)]
    assert texts == [
        "wendesday is not a weekday; wednesday is meant?",
        "02:00-03:00 does not exist on 2026-03-29 and on 34 later days: the clocks are put forward over it",
    ]


@pytest.mark.parametrize("document", [None, [], {}, {"clocks": 7}, {"clocks": {"calendar": None}}])
def test_a_document_without_a_calendar_says_so(document: Any) -> None:
    """(L3)"""
    assert [one.code for one in check_document(document, TODAY)] == ["missing"]


@pytest.mark.parametrize("written", ["text", 7, [1], {"a": {"b": []}}, None])
@pytest.mark.parametrize("part", ["id", "zone", "nominal_day_minutes", "opening_hours", "holidays", "special_days"])
def test_no_shape_of_a_calendar_ends_in_a_trace(part: str, written: Any) -> None:
    """A check that fails tells nothing (L3)."""
    check_document(a_document(**{part: written}), TODAY)


@pytest.mark.parametrize(
    ("opening_hours", "zone"),
    [
        ({key: ["22:00-06:00"] for key in WEEKDAYS}, "Europe/Berlin"),
        ({key: ["00:00-24:00"] for key in WEEKDAYS}, "America/Santiago"),
        ({key: ["22:00-02:30", "02:30-06:00"] for key in WEEKDAYS}, "Europe/Berlin"),
        ({key: ["00:00-12:00", "12:00-24:00"] for key in WEEKDAYS}, "Africa/Cairo"),
    ],
    ids=["nights", "always", "two shifts that meet in the skipped hour", "midnight is skipped"],
)
def test_hours_around_a_change_of_time_are_ordinary(opening_hours: dict[str, list[str]], zone: str) -> None:
    """HD-14: only a window of which nothing is left is odd (L3)."""
    assert not [one for one in found(opening_hours=opening_hours, zone=zone) if one[1] != "nominal_day"]


def test_holidays_that_end_are_a_warning_and_too_near_an_end_an_error() -> None:
    """The library knows Sri Lanka up to 2026 and the moon feasts of India up to 2035: the year is named (L2, L3)."""
    sri_lanka = a_document(holidays={"country": "LK"})
    (early,) = check_document(sri_lanka, date(2026, 3, 2))
    (late,) = check_document(sri_lanka, date(2026, 12, 20))
    assert (early.weight, late.weight) == (WARNING, ERROR)
    assert "up to 2026" in early.text
    assert "5 business days from now reach into 2027" in late.text
    (india,) = check_document(a_document(holidays={"country": "IN"}), TODAY)
    assert india.weight is WARNING
    assert "up to 2035" in india.text


def test_a_policy_is_refused_for_what_is_written_in_it_and_not_for_the_date() -> None:
    """A service that is started again at the turn of the year starts (L3)."""
    policy = CalendarPolicy.model_validate(a_document(holidays={"country": "LK"})["clocks"]["calendar"])
    assert [one.weight for one in check_calendar(policy)] == [WARNING]


def test_holidays_of_a_country_that_is_known_without_end() -> None:
    """Names are English where the library has them, observed days included (L2)."""
    germany, america = public_holidays(Holidays(country="DE")), public_holidays(Holidays(country="US"))
    assert germany.days[date(2026, 4, 6)] == "Easter Monday"
    assert america.days[date(2026, 7, 3)] == "Independence Day (observed)"
    assert germany.known_until == america.known_until == 2060
    with pytest.raises(UnknownHolidays):
        public_holidays(Holidays(country="XX"))
