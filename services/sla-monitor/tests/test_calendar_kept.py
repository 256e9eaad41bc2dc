"""A clock goes on by the calendar it started by, whatever became of zone data, holidays and policy (L11)."""

import hashlib
import random
from datetime import UTC, date, datetime, timedelta
from importlib.resources import files
from zoneinfo import ZoneInfo

import pytest

from shared.policy.business_time import Calendar, CalendarRefused, compile_calendar
from shared.policy.model import WEEKDAYS, CalendarPolicy

YEARS = range(2025, 2029)
DAY = timedelta(hours=8)
FRIDAY_BEFORE_THE_CHANGE = datetime(2026, 3, 27, 14, tzinfo=UTC)
POLICY = CalendarPolicy.model_validate(
    {
        "id": "berlin-office",
        "zone": "Europe/Berlin",
        "nominal_day_minutes": 480,
        "opening_hours": {key: ["09:00-12:30", "13:00-17:00"] for key in WEEKDAYS[:5]},
        "closed_days": {date(2026, 3, 12): "Büro-Umzug"},
    }
)
HOLIDAYS = {date(2026, 4, 3): "Good Friday", date(2026, 4, 6): "Easter Monday"}


@pytest.fixture(scope="module")
def calendar() -> Calendar:
    return compile_calendar(POLICY, HOLIDAYS, YEARS)


def test_what_was_kept_is_the_calendar_again(calendar: Calendar, calendars: dict[str, Calendar]) -> None:
    """Same name, same results, same names of days (L11, L15)."""
    for one in (calendar, *calendars.values()):
        again = Calendar.from_bytes(one.to_bytes())
        assert again == one
        assert again.to_bytes() == one.to_bytes()
    chance = random.Random(19)
    again = Calendar.from_bytes(calendar.to_bytes())
    for _ in range(200):
        start = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(microseconds=chance.randrange(365 * 86_400_000_000))
        end = start + timedelta(microseconds=chance.randrange(30 * 86_400_000_000))
        assert again.add(start, 5 * DAY) == calendar.add(start, 5 * DAY)
        assert again.measure(start, end) == calendar.measure(start, end)
        assert again.close_of_business(start) == calendar.close_of_business(start)
        assert list(again.segments(start, end)) == list(calendar.segments(start, end))
    assert "Büro-Umzug" in {
        one.name for one in again.segments(*(datetime(2026, 3, day, tzinfo=UTC) for day in (2, 20)))
    }


def test_new_zone_data_makes_another_calendar_and_the_kept_one_still_counts_as_before(calendar: Calendar) -> None:
    """HD-19: here summer time is abolished; only an explicit retarget brings running clocks there (L11)."""
    with (files("tzdata.zoneinfo.Africa") / "Lagos").open("rb") as without_summer_time:
        zone = ZoneInfo.from_file(without_summer_time, key="Europe/Berlin")
    kept = calendar.to_bytes()
    today = compile_calendar(POLICY, HOLIDAYS, YEARS, zone=zone)
    then = Calendar.from_bytes(kept)
    assert today.name != calendar.name
    assert then.name == calendar.name
    length = timedelta(hours=4)
    assert then.add(FRIDAY_BEFORE_THE_CHANGE, length) == datetime(2026, 3, 30, 9, tzinfo=UTC)
    assert today.add(FRIDAY_BEFORE_THE_CHANGE, length) == datetime(2026, 3, 30, 10, tzinfo=UTC)


def test_new_holidays_make_another_calendar_and_a_new_name_of_one_does_not(calendar: Calendar) -> None:
    """The name tells what is counted; what a day is called is only told (L11, L15)."""
    fewer = compile_calendar(POLICY, {date(2026, 4, 3): "Good Friday"}, YEARS)
    renamed = compile_calendar(POLICY, HOLIDAYS | {date(2026, 4, 3): "Karfreitag"}, YEARS)
    assert fewer.name != calendar.name
    assert renamed.name == calendar.name
    assert Calendar.from_bytes(calendar.to_bytes()).add(datetime(2026, 4, 2, 15, tzinfo=UTC), DAY) == datetime(
        2026, 4, 8, 7, 30, tzinfo=UTC
    )


def test_the_name_of_a_calendar_never_changes() -> None:
    """Running clocks refer to it by name: another way of computing must not rename what counts the same (L11)."""
    plain = POLICY.model_copy(update={"opening_hours": {}, "closed_days": {}, "zone": "Etc/UTC"})
    windows = CalendarPolicy.model_validate(
        plain.model_dump() | {"opening_hours": {"monday": ["00:00-24:00"]}, "id": "mondays"}
    )
    calendar = compile_calendar(windows, {}, range(2026, 2027))
    monday, day = 1_767_571_200_000_000, 86_400_000_000
    opens = [monday + 7 * day * week for week in range(52)]
    content = (480, opens, [at + day for at in opens], list(range(52)))
    assert calendar.name == f"mondays@{hashlib.sha256(repr(content).encode()).hexdigest()[:12]}"


def test_it_is_small_enough_to_be_kept_by_the_hundred(rules_calendar: Calendar) -> None:
    """Sixty years of office hours and federal holidays (L11)."""
    assert len(rules_calendar.to_bytes()) < 5_000


@pytest.fixture
def rules_calendar(shipped_rules: object) -> Calendar:
    calendar: Calendar = shipped_rules.calendar  # type: ignore[attr-defined]
    return calendar


@pytest.mark.parametrize("damage", ["cut", "one byte", "other form", "nothing"])
def test_damaged_bytes_are_refused(damage: str, calendar: Calendar) -> None:
    """No clock goes on by half a calendar (L11)."""
    whole = calendar.to_bytes()
    damaged = {
        "cut": whole[:-20],
        "one byte": whole[:200] + bytes([whole[200] ^ 1]) + whole[201:],
        "other form": b"calendar 2\n" + whole[11:],
        "nothing": b"",
    }[damage]
    with pytest.raises(CalendarRefused):
        Calendar.from_bytes(damaged)
