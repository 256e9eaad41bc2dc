"""Business time to the microsecond, by the exact instants of the acceptance scenarios and against a naive second computation."""

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest

from shared.policy.business_time import Calendar, CalendarRefused, OutsideHorizon, compile_calendar
from shared.policy.model import WEEKDAYS, CalendarPolicy, Window

Calendars = dict[str, Calendar]
BERLIN = ZoneInfo("Europe/Berlin")
YEARS = range(2025, 2029)
DAY = timedelta(hours=8)
QUARTER = timedelta(minutes=15)


def berlin(local: str) -> datetime:
    return datetime.fromisoformat(local).replace(tzinfo=BERLIN).astimezone(UTC)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("scenario", "calendar", "start", "length", "due"),
    [
        ("HD-02", "CAL-DE", "2026-03-02 10:00", DAY, "2026-03-03 10:00"),
        ("HD-05", "CAL-DE", "2026-03-02 09:00", DAY, "2026-03-02 17:00"),
        ("HD-05", "CAL-DE", "2026-03-02 16:59:59", DAY, "2026-03-03 16:59:59"),
        ("HD-05", "CAL-DE", "2026-03-02 17:00", DAY, "2026-03-03 17:00"),
        ("HD-06", "CAL-DE", "2026-04-02 14:00", 2 * DAY, "2026-04-08 14:00"),
        ("HD-06", "CAL-DE", "2026-04-02 14:00", 5 * DAY, "2026-04-13 14:00"),
        ("HD-07", "CAL-DE", "2026-12-24 10:00", 3 * DAY, "2026-12-30 10:00"),
        ("HD-07", "CAL-DE with a half-day", "2026-12-24 10:00", DAY, "2026-12-28 14:00"),
        ("HD-09", "CAL-LUNCH", "2026-03-02 11:30", timedelta(hours=2), "2026-03-02 14:30"),
        ("HD-09", "CAL-LUNCH", "2026-03-02 12:30", timedelta(hours=1), "2026-03-02 14:00"),
        ("HD-09", "CAL-LUNCH", "2026-03-02 11:00", timedelta(hours=7), "2026-03-03 11:00"),
        ("HD-10", "CAL-24x7", "2026-03-02 23:30", timedelta(minutes=60), "2026-03-03 00:30"),
        ("HD-11", "CAL-DE", "2026-03-27 15:00", DAY, "2026-03-30 15:00"),
        ("HD-14", "CAL-NIGHT", "2026-03-28 23:00", timedelta(hours=4), "2026-03-29 04:00"),
        ("HD-14", "CAL-NIGHT", "2026-03-28 23:00", timedelta(hours=7), "2026-03-29 23:00"),
        ("HD-43", "CAL-DE", "2026-03-06 16:30", timedelta(hours=2), "2026-03-09 10:30"),
        ("HD-43", "CAL-DE", "2026-03-06 16:30", timedelta(minutes=90), "2026-03-09 10:00"),
        ("HD-43", "CAL-08-18", "2026-03-02 17:00", timedelta(hours=3), "2026-03-03 10:00"),
    ],
)
def test_business_time_ends_at_the_exact_instant(
    scenario: str, calendar: str, start: str, length: timedelta, due: str, calendars: Calendars
) -> None:
    """Counted in opening hours only, half-open, closed days and lunch left out (L2, L3)."""
    assert calendars[calendar].add(berlin(start), length) == berlin(due)
    assert calendars[calendar].measure(berlin(start), berlin(due)) == length


def test_the_repeated_hour_of_the_night_shift_is_counted_twice(calendars: Calendars) -> None:
    """HD-14: on 2026-10-24 the shift has nine real hours; four hours from 23:00 end at the second 02:00 (L3)."""
    assert calendars["CAL-NIGHT"].add(berlin("2026-10-24 23:00"), timedelta(hours=4)) == utc("2026-10-25 01:00")
    assert calendars["CAL-NIGHT"].measure(berlin("2026-10-24 22:00"), berlin("2026-10-25 06:00")) == timedelta(hours=9)
    assert calendars["CAL-NIGHT"].measure(berlin("2026-03-28 22:00"), berlin("2026-03-29 06:00")) == timedelta(hours=7)


def test_two_hours_in_the_weeks_in_which_the_offices_are_five_hours_apart(calendars: Calendars) -> None:
    """HD-16: America keeps summer time already, Europe not yet (L3)."""
    for calendar in ("CAL-NY", "CAL-DE"):
        assert calendars[calendar].add(utc("2026-03-10 13:30"), timedelta(hours=2)) == utc("2026-03-10 15:30")


def test_a_zone_with_a_half_hour_offset(calendars: Calendars) -> None:
    """HD-17 (L3)."""
    assert calendars["CAL-IN"].add(utc("2026-03-02 11:00"), timedelta(hours=2)) == utc("2026-03-03 05:00")


def test_thanksgiving_is_skipped_by_the_calendar_that_has_it(calendars: Calendars) -> None:
    """HD-18 (L2)."""
    before_thanksgiving = utc("2026-11-25 21:00")
    assert calendars["CAL-NY"].add(before_thanksgiving, DAY) == utc("2026-11-27 21:00")
    assert calendars["CAL-DE"].add(before_thanksgiving, DAY) == utc("2026-11-26 16:00")


def test_what_ends_at_closing_time_is_due_at_closing_time_not_at_the_next_opening(calendars: Calendars) -> None:
    """HD-42: Wednesday 17:00 and Thursday 09:00 have the same counted time; the earlier instant holds (L3)."""
    friday_evening, monday_closing = berlin("2026-03-06 18:00"), berlin("2026-03-09 17:00")
    assert calendars["CAL-DE"].add(friday_evening, DAY) == monday_closing
    assert calendars["CAL-DE"].measure(friday_evening, berlin("2026-03-10 09:00")) == DAY


def test_a_microsecond_is_kept(calendars: Calendars) -> None:
    """Arithmetic is exact to the microsecond (L3)."""
    start = berlin("2026-03-06 16:59:59.999999")
    assert calendars["CAL-DE"].add(start, timedelta(microseconds=1)) == berlin("2026-03-06 17:00")
    assert calendars["CAL-DE"].add(start, timedelta(microseconds=2)) == berlin("2026-03-09 09:00:00.000001")


@pytest.mark.parametrize(
    ("created", "same_day", "next_business_day"),
    [
        ("2026-03-03 10:00", "2026-03-03 17:00", "2026-03-04 17:00"),
        ("2026-03-03 16:50", "2026-03-03 17:00", "2026-03-04 17:00"),
        ("2026-03-03 17:00", "2026-03-04 17:00", "2026-03-05 17:00"),
        ("2026-03-07 11:00", "2026-03-09 17:00", "2026-03-10 17:00"),
        ("2026-04-02 17:00", "2026-04-07 17:00", "2026-04-08 17:00"),
    ],
)
def test_close_of_business(created: str, same_day: str, next_business_day: str, calendars: Calendars) -> None:
    """HD-76: of the business day on which counting starts, and of the one after (L4)."""
    calendar = calendars["CAL-DE"]
    assert calendar.close_of_business(berlin(created)) == berlin(same_day)
    assert calendar.close_of_business(berlin(created), business_days_later=1) == berlin(next_business_day)


@pytest.mark.parametrize(
    ("calendar", "instant", "opening"),
    [
        ("CAL-08-18", "2026-03-07 23:00", "2026-03-09 08:00"),
        ("CAL-08-18", "2026-03-09 07:59", "2026-03-09 08:00"),
        ("CAL-08-18", "2026-03-09 08:00", "2026-03-09 08:00"),
        ("CAL-08-18", "2026-03-09 17:59", "2026-03-09 17:59"),
        ("CAL-08-18", "2026-03-09 18:00", "2026-03-10 08:00"),
        ("CAL-LUNCH", "2026-03-09 12:30", "2026-03-09 13:00"),
        ("CAL-DE", "2026-04-03 10:00", "2026-04-07 09:00"),
    ],
)
def test_the_next_opening(calendar: str, instant: str, opening: str, calendars: Calendars) -> None:
    """HD-45: the instant itself where it counts; closing time is closed already (L3, T6)."""
    assert calendars[calendar].next_open(berlin(instant)) == berlin(opening)


def test_lunch_does_not_end_the_business_day_and_midnight_does_not_end_a_shift(calendars: Calendars) -> None:
    """Close of business is the end of the last window that opens on that day (L4)."""
    assert calendars["CAL-LUNCH"].close_of_business(berlin("2026-03-02 11:00")) == berlin("2026-03-02 17:00")
    assert calendars["CAL-LUNCH"].close_of_business(berlin("2026-03-02 12:30")) == berlin("2026-03-02 17:00")
    assert calendars["CAL-NIGHT"].close_of_business(berlin("2026-03-03 02:00")) == berlin("2026-03-03 06:00")


def test_windows_that_meet_in_a_skipped_or_repeated_hour_meet_in_time_as_well() -> None:
    """A skipped local time is the moment of the change, a repeated one the first (L3)."""
    tiled = a_calendar(opening_hours={key: ["22:00-02:30", "02:30-06:00"] for key in WEEKDAYS})
    whole = a_calendar(opening_hours={key: ["22:00-06:00"] for key in WEEKDAYS})
    for evening in ("2026-03-28 22:00", "2026-10-24 22:00"):
        for hours in range(1, 12):
            length = timedelta(hours=hours, minutes=7)
            assert tiled.add(berlin(evening), length) == whole.add(berlin(evening), length)


def test_the_name_tells_calendars_apart_by_what_they_count() -> None:
    """Every clock event names its calendar; equal names give equal due times (L15)."""
    plain, again = a_calendar(), a_calendar()
    closed = a_calendar(closed_days={date(2026, 5, 1): "Labour Day"})
    assert plain.name == again.name
    assert plain.name.startswith("test@")
    assert closed.name != plain.name
    assert a_calendar(nominal_day_minutes=420).name != plain.name
    assert compile_calendar(a_policy(), {date(2026, 5, 1): "Tag der Arbeit"}, YEARS).name == closed.name


def test_a_special_day_stands_above_a_holiday() -> None:
    """Half-days are ordinary data (L3)."""
    policy = a_policy(special_days={date(2026, 12, 24): ["09:00-13:00"]})
    calendar = compile_calendar(policy, {date(2026, 12, 24): "Christmas Eve"}, YEARS)
    assert calendar.close_of_business(berlin("2026-12-24 08:00")) == berlin("2026-12-24 13:00")


@pytest.mark.parametrize(
    ("what", "changed"),
    [
        ("no business time", {"opening_hours": {}}),
        ("no business time", {"opening_hours": {}, "special_days": {date(2026, 3, 3): ["09:00-17:00"]}}),
        ("overlap on 2025-01-06", {"opening_hours": {"monday": ["09:00-13:00", "12:00-17:00"]}}),
        ("overlap on 2025-01-07", {"opening_hours": {"monday": ["22:00-06:00"], "tuesday": ["05:00-09:00"]}}),
        ("no time zone", {"zone": "Europe/Atlantis"}),
        (
            "both a closed and a special day",
            {"closed_days": {date(2026, 5, 1): "closed"}, "special_days": {date(2026, 5, 1): ["09:00-12:00"]}},
        ),
    ],
)
def test_a_calendar_that_contradicts_itself_is_refused(what: str, changed: dict[str, object]) -> None:
    """It is refused when it is loaded, and the message says where (L3)."""
    with pytest.raises(CalendarRefused, match=what):
        a_calendar(**changed)


def test_beyond_the_horizon_nothing_is_guessed(calendars: Calendars) -> None:
    """No holidays are known there, so no due time is computed (L3)."""
    calendar = calendars["CAL-DE"]
    assert calendar.covers(utc("2026-03-03 09:00"))
    assert not calendar.covers(utc("2024-12-31 12:00"))
    assert not calendar.covers(utc("2028-06-01 12:00"))
    with pytest.raises(OutsideHorizon):
        calendar.add(utc("2024-12-31 12:00"), DAY)
    with pytest.raises(OutsideHorizon):
        calendar.add(utc("2028-12-29 12:00"), 9 * DAY)
    with pytest.raises(OutsideHorizon):
        calendar.close_of_business(utc("2028-12-31 12:00"))


# --- a second, naive computation: walk quarters of an hour and look at the wall clock -------------------------------------


class Walker:
    """Decides for each quarter of an hour by the local wall clock whether the office is open, and adds them up."""

    def __init__(self, policy: CalendarPolicy, holidays: set[date]) -> None:
        self.policy = policy
        self.zone = ZoneInfo(policy.zone)
        self.holidays = holidays | set(policy.closed_days)

    def windows(self, day: date) -> tuple[Window, ...]:
        if day in self.policy.special_days:
            return self.policy.special_days[day]
        if day in self.holidays:
            return ()
        return self.policy.opening_hours.get(WEEKDAYS[day.weekday()], ())

    def business_day(self, instant: datetime) -> date | None:
        """The day whose window is open at this instant."""
        local = instant.astimezone(self.zone)
        today, wall = local.date(), local.time()
        yesterday = today - timedelta(days=1)
        for window in self.windows(today):
            over_midnight = window.closes <= window.opens
            if window.opens <= wall and (over_midnight or wall < window.closes):
                return today
        for window in self.windows(yesterday):
            if time() < window.closes <= window.opens and wall < window.closes:
                return yesterday
        return None

    def steps(self, start: datetime) -> Iterator[tuple[datetime, datetime]]:
        into = timedelta(minutes=start.minute % 15, seconds=start.second, microseconds=start.microsecond)
        end = start - into + QUARTER
        while True:
            yield start, end
            start, end = end, end + QUARTER

    def add(self, start: datetime, length: timedelta) -> datetime:
        for since, until in self.steps(start):
            if self.business_day(since) is None:
                continue
            if length <= until - since:
                return since + length
            length -= until - since
        raise AssertionError

    def measure(self, start: datetime, end: datetime) -> timedelta:
        total = timedelta(0)
        for since, until in self.steps(start):
            if since >= end:
                return total
            if self.business_day(since) is not None:
                total += min(until, end) - since
        raise AssertionError

    def close_of_business(self, start: datetime) -> datetime:
        first = next(since for since, _ in self.steps(start) if self.business_day(since) is not None)
        today = self.business_day(first)
        closes = first
        for since, until in self.steps(first):
            if since > first + timedelta(hours=48):
                return closes
            if self.business_day(since) == today:
                closes = until
        raise AssertionError


# Windows do not end inside the hour that a change of time repeats: there the wall clock alone cannot tell which is meant.
HOURS = (
    ["09:00-17:00"],
    ["08:00-12:00", "13:15-18:45"],
    ["22:00-06:00"],
    ["07:30-11:00", "11:00-15:30", "20:00-24:00"],
    ["00:00-24:00"],
)
ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Chatham",
    "America/St_Johns",
    "Africa/Cairo",
    "America/Santiago",
    "America/Havana",
)


def disagreements(seed: int, zones: list[str], instants: int) -> list[tuple[object, ...]]:
    """Where the calendar and the walker differ, over random calendars and instants, half of them near a change of time."""
    chance = random.Random(seed)
    found: list[tuple[object, ...]] = []
    for zone in zones:
        holidays = {date(2026, 1, 1) + timedelta(days=chance.randrange(730)) for _ in range(40)}
        special = {date(2026, 1, 1) + timedelta(days=chance.randrange(730)): ["10:00-14:30"] for _ in range(5)}
        hours = chance.choice(HOURS)
        days = WEEKDAYS if hours[0] == "00:00-24:00" or chance.random() < 0.3 else WEEKDAYS[:5]
        policy = a_policy(
            zone=zone,
            opening_hours=dict.fromkeys(days, hours),
            special_days={} if hours[0] == "22:00-06:00" else special,
        )
        calendar, walker = compile_calendar(policy, dict.fromkeys(holidays, "closed"), YEARS), Walker(policy, holidays)
        changes = list(changes_of_time(ZoneInfo(zone)))
        for number in range(instants):
            around = chance.choice(changes) if changes and number % 2 else utc("2026-07-01 00:00")
            spread = timedelta(days=3) if changes and number % 2 else timedelta(days=180)
            start = around + spread * chance.uniform(-1, 1)
            length = timedelta(hours=chance.choice((0.1, 1, 8, 24)), microseconds=chance.randrange(3_600_000_000))
            due = walker.add(start, length)
            expected = due, length, walker.measure(start, due + length), walker.close_of_business(start)
            answered = (
                calendar.add(start, length),
                calendar.measure(start, due),
                calendar.measure(start, due + length),
                calendar.close_of_business(start),
            )
            if expected != answered:
                found.append((zone, hours, start, length, expected, answered))
    return found


def changes_of_time(zone: ZoneInfo) -> Iterator[datetime]:
    hour = utc("2026-01-01 00:00")
    while hour.year == 2026:
        if hour.astimezone(zone).utcoffset() != (hour + timedelta(hours=1)).astimezone(zone).utcoffset():
            yield hour
        hour += timedelta(hours=1)


def test_an_independent_computation_agrees_on_hundreds_of_random_instants() -> None:
    """Daylight-saving nights, holidays, half-days, several windows, half-hour zones (L2-L4)."""
    assert disagreements(seed=3, zones=list(ZONES), instants=60) == []


@pytest.mark.long
def test_an_independent_computation_agrees_in_all_time_zones() -> None:
    """Every zone of the tz database (L2-L4)."""
    zones = sorted(
        zone for zone in available_timezones() if "/" in zone and not zone.startswith(("Etc/", "posix", "right"))
    )
    assert disagreements(seed=11, zones=zones, instants=60) == []


def a_policy(**changed: object) -> CalendarPolicy:
    plain: dict[str, object] = {
        "id": "test",
        "zone": "Europe/Berlin",
        "nominal_day_minutes": 480,
        "opening_hours": {key: ["09:00-17:00"] for key in WEEKDAYS[:5]},
    }
    return CalendarPolicy.model_validate(plain | changed)


def a_calendar(**changed: object) -> Calendar:
    return compile_calendar(a_policy(**changed), {}, YEARS)
