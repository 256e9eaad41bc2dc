"""Why a due time is where it is: every counted and skipped stretch, by name (L15)."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.policy.business_time import Calendar, OutsideHorizon, Segment, compile_calendar, load_calendar
from shared.policy.model import WEEKDAYS, CalendarPolicy

BERLIN = ZoneInfo("Europe/Berlin")
YEARS = range(2025, 2029)
Told = tuple[str, str, str, str | None]


def a_policy(**changed: object) -> CalendarPolicy:
    plain: dict[str, object] = {
        "id": "berlin-office",
        "zone": "Europe/Berlin",
        "nominal_day_minutes": 480,
        "opening_hours": {key: ["09:00-17:00"] for key in WEEKDAYS[:5]},
    }
    return CalendarPolicy.model_validate(plain | changed)


def a_calendar(holidays: dict[date, str] | None = None, **changed: object) -> Calendar:
    return compile_calendar(a_policy(**changed), holidays or {}, YEARS)


def berlin(local: str) -> datetime:
    return datetime.fromisoformat(local).replace(tzinfo=BERLIN).astimezone(UTC)


def told(calendar: Calendar, start: str, end: str) -> list[Told]:
    return [line(segment) for segment in calendar.segments(berlin(start), berlin(end))]


def line(segment: Segment) -> Told:
    starts, ends = (f"{at.astimezone(BERLIN):%a %d %H:%M}" for at in (segment.starts_at, segment.ends_at))
    return starts, ends, segment.kind.value, segment.name


@pytest.fixture(scope="module")
def berlin_office() -> Calendar:
    """With the holidays of Germany as the library knows them."""
    return load_calendar(a_policy(holidays={"country": "DE"}))


def test_the_explanation_names_good_friday_the_weekend_and_easter_monday(berlin_office: Calendar) -> None:
    """HD-08: the two business days of HD-06, with the version of the calendar (L15)."""
    due_at = berlin_office.add(berlin("2026-04-02 14:00"), 2 * berlin_office.nominal_day)
    assert due_at == berlin("2026-04-08 14:00")
    assert told(berlin_office, "2026-04-02 14:00", "2026-04-08 14:00") == [
        ("Thu 02 14:00", "Thu 02 17:00", "open", None),
        ("Thu 02 17:00", "Fri 03 00:00", "night", None),
        ("Fri 03 00:00", "Sat 04 00:00", "holiday", "Good Friday"),
        ("Sat 04 00:00", "Mon 06 00:00", "weekend", None),
        ("Mon 06 00:00", "Tue 07 00:00", "holiday", "Easter Monday"),
        ("Tue 07 00:00", "Tue 07 09:00", "night", None),
        ("Tue 07 09:00", "Tue 07 17:00", "open", None),
        ("Tue 07 17:00", "Wed 08 09:00", "night", None),
        ("Wed 08 09:00", "Wed 08 14:00", "open", None),
    ]
    assert berlin_office.name.startswith("berlin-office@")
    assert berlin_office.zone == "Europe/Berlin"


def test_days_closed_for_one_reason_are_one_stretch_and_bear_the_policys_name() -> None:
    """(L15)"""
    calendar = a_calendar(closed_days={date(2026, 3, 3): "Stocktaking", date(2026, 3, 4): "Stocktaking"})
    assert told(calendar, "2026-03-02 17:00", "2026-03-05 09:00") == [
        ("Mon 02 17:00", "Tue 03 00:00", "night", None),
        ("Tue 03 00:00", "Thu 05 00:00", "closed_day", "Stocktaking"),
        ("Thu 05 00:00", "Thu 05 09:00", "night", None),
    ]


def test_the_policys_own_name_of_a_day_goes_before_the_holidays() -> None:
    """A closed day is what somebody wrote down for this office (L2, L15)."""
    day = date(2026, 3, 3)
    calendar = a_calendar({day: "Holiday"}, closed_days={day: "Party"})
    assert told(calendar, "2026-03-03 08:00", "2026-03-03 12:00") == [
        ("Tue 03 08:00", "Tue 03 12:00", "closed_day", "Party")
    ]


def test_a_holiday_on_a_day_that_would_not_have_opened_stays_a_weekend() -> None:
    """It takes no business time away (L15)."""
    calendar = a_calendar({date(2026, 3, 7): "Holiday"})
    assert [segment[2:] for segment in told(calendar, "2026-03-06 17:00", "2026-03-09 09:00")] == [
        ("night", None),
        ("weekend", None),
        ("night", None),
    ]


def test_a_special_day_without_hours_is_a_closed_day_without_a_name() -> None:
    """(L3, L15)"""
    calendar = a_calendar({date(2026, 3, 3): "Holiday"}, special_days={date(2026, 3, 3): []})
    assert told(calendar, "2026-03-03 08:00", "2026-03-03 12:00") == [
        ("Tue 03 08:00", "Tue 03 12:00", "closed_day", None)
    ]


def test_lunch_is_a_break_and_not_a_night(calendars: dict[str, Calendar]) -> None:
    """HD-09 (L3, L15)."""
    assert told(calendars["CAL-LUNCH"], "2026-03-02 11:30", "2026-03-02 14:30") == [
        ("Mon 02 11:30", "Mon 02 12:00", "open", None),
        ("Mon 02 12:00", "Mon 02 13:00", "break", None),
        ("Mon 02 13:00", "Mon 02 14:30", "open", None),
    ]


def test_an_office_that_never_closes_is_one_stretch(calendars: dict[str, Calendar]) -> None:
    """HD-10: windows that meet are told as one (L3, L15)."""
    assert told(calendars["CAL-24x7"], "2026-03-02 23:30", "2026-03-05 00:30") == [
        ("Mon 02 23:30", "Thu 05 00:30", "open", None)
    ]


def test_a_shift_that_began_before_a_holiday_is_finished() -> None:
    """The holiday is what is left of its day (L3, L15)."""
    calendar = a_calendar({date(2026, 3, 4): "Holiday"}, opening_hours={key: ["22:00-06:00"] for key in WEEKDAYS})
    assert told(calendar, "2026-03-03 22:00", "2026-03-05 23:00") == [
        ("Tue 03 22:00", "Wed 04 06:00", "open", None),
        ("Wed 04 06:00", "Thu 05 00:00", "holiday", "Holiday"),
        ("Thu 05 00:00", "Thu 05 22:00", "night", None),
        ("Thu 05 22:00", "Thu 05 23:00", "open", None),
    ]


def test_the_night_of_the_change_has_seven_hours_to_be_counted(calendars: dict[str, Calendar]) -> None:
    """HD-14 (L3, L15)."""
    (shift,) = calendars["CAL-NIGHT"].segments(berlin("2026-03-28 22:00"), berlin("2026-03-29 06:00"))
    assert shift.ends_at - shift.starts_at == timedelta(hours=7)


def test_nothing_is_told_of_no_time_and_of_years_that_are_not_known(calendars: dict[str, Calendar]) -> None:
    """(L3)"""
    calendar = calendars["CAL-DE"]
    now = berlin("2026-03-02 10:00")
    assert list(calendar.segments(now, now)) == []
    with pytest.raises(OutsideHorizon):
        calendar.segments(now, berlin("2040-01-01 00:00"))


CALENDARS = ("CAL-DE", "CAL-LUNCH", "CAL-NY", "CAL-NIGHT", "CAL-IN", "CAL-24x7", "CAL-DE with a half-day")
FIRST, LAST = datetime(2025, 1, 2, tzinfo=UTC), datetime(2028, 12, 30, tzinfo=UTC)
INSTANTS = st.integers(0, (LAST - FIRST) // timedelta(microseconds=1)).map(
    lambda micros: FIRST + timedelta(microseconds=micros)
)


@settings(max_examples=300)
@given(name=st.sampled_from(CALENDARS), start=INSTANTS, length=st.timedeltas(timedelta(0), timedelta(days=40)))
def test_the_open_stretches_sum_up_to_what_is_measured(
    name: str, start: datetime, length: timedelta, calendars: dict[str, Calendar]
) -> None:
    """Without gap or overlap from start to end, none twice in a row, exact to the microsecond (L3, L15)."""
    calendar, end = calendars[name], min(start + length, LAST)
    found = list(calendar.segments(start, end))
    opened = sum((one.ends_at - one.starts_at for one in found if one.kind == "open"), timedelta(0))
    assert opened == calendar.measure(start, end)
    assert not found or (found[0].starts_at, found[-1].ends_at) == (start, end)
    assert all(one.ends_at == other.starts_at and one.kind != other.kind for one, other in pairwise(found))
    assert all(one.starts_at < one.ends_at for one in found)
