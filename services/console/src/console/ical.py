"""Closed days from an iCal file: all-day events, those of several days, and those that come back every year (L3).

Only the file is read, nothing is fetched; what is printed is pasted into the policy by a person, so that every closed day is
one that somebody has seen. Whatever a file holds, the work is bounded: its size, its events, and the days that come of it.
"""

import re
import sys
from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import yaml

from shared.policy.public_holidays import HORIZON

LARGEST_FILE = 2_000_000
MOST_EVENTS = 5_000
MOST_SERIES = 200
MOST_DAYS = 10_000
MOST_NAMES_OF_A_DAY = 5
EARLIEST = date(1900, 1, 1)
"""A series that is older begins too far back to be counted out."""
LONGEST_EVENT = timedelta(days=366)
_LONGEST_NAME = 100
_UNDERSTOOD = {"FREQ", "INTERVAL", "COUNT", "UNTIL", "BYMONTH", "BYMONTHDAY", "BYDAY", "WKST"}
_WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_BY_DAY = re.compile(r"([+-]?\d{1,2})?(MO|TU|WE|TH|FR|SA|SU)")
_DAY = timedelta(days=1)


class NotImported(Exception):  # noqa: N818
    """The file cannot be imported; the message says why."""


@dataclass(frozen=True, slots=True)
class Imported:
    """Days with their names, and in words what was in the file and is no closed day."""

    days: dict[date, str]
    left_out: list[str]

    def as_yaml(self) -> str:
        """`closed_days` of the policy's calendar."""
        document = {"closed_days": dict(sorted(self.days.items()))}
        return yaml.safe_dump(document, allow_unicode=True, sort_keys=False, width=1000).rstrip()


def read_closed_days(file: Path, years: range) -> Imported:
    """The closed days of an iCal file in these years.

    Raises:
        NotImported: it is no such file, too large, or an event of it cannot be read; or the library is missing.
    """
    years = range(max(years[0], HORIZON[0]), min(years[-1], HORIZON[-1]) + 1) if years else years
    if not years:
        raise NotImported(f"no year to import: calendars know {HORIZON[0]} to {HORIZON[-1]}")
    events = _events(file)
    try:
        return _closed_days(events, years)
    except (AttributeError, TypeError, ValueError, LookupError, OverflowError):  # a property twice, or of another kind
        raise NotImported(f"{file} holds an event that cannot be read") from None


def _closed_days(events: list[Any], years: range) -> Imported:
    replaced = {(_text(event, "UID"), _day_of(event, "RECURRENCE-ID")) for event in events if "RECURRENCE-ID" in event}
    names: dict[date, list[str]] = {}
    left_out: list[str] = []
    for event in events:
        if (what := _left_out(event)) is not None:
            left_out.append(f"{_name(event)}: {what}")
            continue
        for day in _days(event, years, replaced):
            named = names.setdefault(day, [])
            if _name(event) not in named and len(named) < MOST_NAMES_OF_A_DAY:
                named.append(_name(event))
        if len(names) > MOST_DAYS:
            raise NotImported(f"more than {MOST_DAYS} closed days")
    return Imported({day: "; ".join(named) for day, named in names.items()}, left_out)


def _events(file: Path) -> list[Any]:
    try:
        import icalendar  # noqa: PLC0415 - optional, and it takes half a second
    except ModuleNotFoundError:
        raise NotImported("this needs the extra: install console[ical]") from None
    try:
        with file.open("rb") as opened:
            content = opened.read(LARGEST_FILE + 1)
    except OSError:
        raise NotImported(f"{file} cannot be read") from None
    if len(content) > LARGEST_FILE:
        raise NotImported(f"{file} is larger than {LARGEST_FILE} bytes")
    if content.upper().count(b"BEGIN:") > MOST_EVENTS:
        raise NotImported(f"{file} holds more than {MOST_EVENTS} entries")
    try:
        calendars = icalendar.Calendar.from_ical(content, multiple=True)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise NotImported(f"{file} is not an iCal file") from None
    if not any(calendar.name == "VCALENDAR" for calendar in calendars):
        raise NotImported(f"{file} is not an iCal file")
    events = [event for calendar in calendars for event in calendar.walk("VEVENT")]
    if sum("RRULE" in event for event in events) > MOST_SERIES:
        raise NotImported(f"{file} holds more than {MOST_SERIES} series")
    return events


def _left_out(event: Any) -> str | None:
    """Why an event is no closed day.

    Raises:
        NotImported: it cannot be read.
    """
    broken = sorted(
        {str(name) for name, _ in event.errors} & {"DTSTART", "DTEND", "DURATION", "RRULE", "RDATE", "EXDATE"}
    )
    if broken:
        raise NotImported(f"{_name(event)}: {broken[0]} cannot be read")
    if "DTSTART" not in event:
        raise NotImported(f"{_name(event)}: there is no DTSTART")
    if _text(event, "STATUS").upper() == "CANCELLED":
        return "cancelled"
    if not _is_all_day(event):
        return "has hours: that is a special day at most"
    rule = event.get("RRULE")
    if rule is None:
        return None
    if isinstance(rule, list):
        return "repeats by several rules"
    if rule.get("FREQ") != ["YEARLY"]:
        return f"repeats {str(rule.get('FREQ', ['?'])[0]).lower()}, not yearly"
    if unknown := sorted(rule.keys() - _UNDERSTOOD):
        return f"repeats by {unknown[0]}, which is not understood"
    return None if _date(event["DTSTART"].dt) >= EARLIEST else f"began before {EARLIEST.year}"


def _is_all_day(event: Any) -> bool:
    """Days are written as dates; some mail programs write midnights and say so."""
    start = event["DTSTART"].dt
    if not isinstance(start, datetime):
        return isinstance(start, date)
    says_so = _text(event, "X-MICROSOFT-CDO-ALLDAYEVENT").upper() == "TRUE"
    return says_so and start.time() == time()


def _days(event: Any, years: range, replaced: set[tuple[str, date | None]]) -> Iterator[date]:
    """The closed days of an event in these years."""
    first = _day_of(event, "DTSTART")
    assert first is not None
    length = _length(event, first)
    uid = _text(event, "UID")
    starts = {first} if event.get("RRULE") is None else set(_yearly(event, first, years[-1]))
    starts |= set(_listed(event, "RDATE"))
    starts -= set(_listed(event, "EXDATE"))
    starts = {start for start in starts if years[0] - 2 < start.year <= years[-1]}
    if len(starts) * length > MOST_DAYS:
        raise NotImported(f"{_name(event)}: more than {MOST_DAYS} closed days")
    for start in sorted(starts):
        if "RECURRENCE-ID" not in event and (uid, start) in replaced:
            continue
        for number in range(length):
            day = start + number * _DAY
            if day.year in years:
                yield day


def _length(event: Any, first: date) -> int:
    """In days; the end of an event is not one of them.

    Raises:
        NotImported: longer than a year.
    """
    last = _day_of(event, "DTEND")
    length = last - first if last is not None else event["DURATION"].dt if "DURATION" in event else _DAY
    if length > LONGEST_EVENT or first > date.max - LONGEST_EVENT:
        raise NotImported(f"{_name(event)}: longer than {LONGEST_EVENT.days} days")
    return max(1, -(-length // _DAY))


def _yearly(event: Any, first: date, last_year: int) -> Iterator[date]:
    """The days on which a yearly rule begins, from the first to the last year or the rule's own end."""
    rule = event["RRULE"]
    until, left = _date(rule.get("UNTIL", [date.max])[0]), int(rule.get("COUNT", [sys.maxsize])[0])
    for year in range(first.year, last_year + 1, max(1, int(rule.get("INTERVAL", [1])[0]))):
        for day in sorted(_in_year(event, rule, first, year)):
            if day < first:
                continue
            if day > until or left <= 0:
                return
            left -= 1
            yield day


def _in_year(event: Any, rule: Any, first: date, year: int) -> set[date]:
    """The days of a year that the rule names (RFC 5545, 3.3.10: what is not named is as in the first event)."""
    by_day = [_BY_DAY.fullmatch(str(one).upper()) for one in rule.get("BYDAY", ())]
    month_days = [int(one) for one in rule.get("BYMONTHDAY", ())]
    if None in by_day:
        raise NotImported(f"{_name(event)}: BYDAY cannot be read")
    everywhere = range(1, 13) if by_day or month_days else (first.month,)
    months = sorted({int(one) for one in rule.get("BYMONTH", ())} & set(range(1, 13))) or everywhere
    whole_year = by_day and "BYMONTH" not in rule and not month_days
    spans = (
        [range(date(year, 1, 1).toordinal(), date(year, 12, 31).toordinal() + 1)]
        if whole_year
        else [
            range(date(year, month, 1).toordinal(), date(year, month, monthrange(year, month)[1]).toordinal() + 1)
            for month in months
        ]
    )
    found: set[date] = set()
    for span in spans:
        days = [date.fromordinal(number) for number in span]
        if by_day:
            chosen = {day for one in by_day if one for day in _nth(days, one[2], int(one[1] or 0))}
        else:
            chosen = {day for day in days if month_days or day.day == first.day}
        wanted = {number if number > 0 else len(days) + 1 + number for number in month_days}
        found |= {day for day in chosen if not month_days or day.day in wanted}
    return found


def _nth(days: list[date], weekday: str, which: int) -> list[date]:
    """All such weekdays of a span, or the n-th, from the end if negative."""
    same = [day for day in days if _WEEKDAYS[day.weekday()] == weekday]
    if which == 0:
        return same
    return same[which - 1 : which] if which > 0 else same[which : which + 1 or None]


def _listed(event: Any, name: str) -> Iterator[date]:
    found = event.get(name)
    for group in found if isinstance(found, list) else [found] if found is not None else []:
        for one in group.dts:
            value = one.dt[0] if isinstance(one.dt, tuple) else one.dt
            yield _date(value)


def _day_of(event: Any, name: str) -> date | None:
    if name not in event:
        return None
    value = getattr(event[name], "dt", None)
    if not isinstance(value, date):
        raise NotImported(f"{_name(event)}: {name} cannot be read")
    return _date(value)


def _date(value: date) -> date:
    return value.date() if isinstance(value, datetime) else value


def _name(event: Any) -> str:
    """What the day is called: one line without control characters."""
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in _text(event, "SUMMARY")).split())
    return text[:_LONGEST_NAME] or "closed"


def _text(event: Any, name: str) -> str:
    found = event.get(name, "")
    return str(found[0] if isinstance(found, list) and found else found)
