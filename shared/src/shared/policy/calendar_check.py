"""What is wrong with a policy's calendar, all of it at once and with its place in the file (L2, L3).

An error refuses the policy; a warning is something that the author of the calendar hardly meant. A policy is refused for what is
written in it, never because of the date: `today` only says how near the end of what is known has come.
"""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from difflib import get_close_matches
from enum import StrEnum
from itertools import pairwise
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import ValidationError

from shared.policy.model import WEEKDAYS, CalendarPolicy, Target, Window
from shared.policy.public_holidays import HORIZON, UnknownHolidays, public_holidays
from shared.vocabulary import Unit

PLACE = ("clocks", "calendar")
"""Where the calendar stands in the policy."""

_DAY = timedelta(days=1)
_DAY_MINUTES = 24 * 60
_TICK = timedelta(microseconds=1)

Place: TypeAlias = tuple[str | int, ...]


class Weight(StrEnum):
    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong. `code` is stable; `place` leads to it from the top of the policy, list items counted from 0."""

    weight: Weight
    code: str
    place: Place
    text: str

    def __str__(self) -> str:
        return f"{dotted(self.place)}: {self.text}"


def dotted(place: Place) -> str:
    """clocks.calendar.opening_hours.monday[1]"""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")


def check_document(document: Any, today: date | None = None) -> tuple[Finding, ...]:
    """Findings about the calendar in a policy as it was written, whatever the rest of the policy looks like (L3).

    What cannot be read is named and left out, so that the rest is looked at as well.
    """
    clocks = _part(document, "clocks")
    written = _part(clocks, "calendar")
    if not written:
        return (Finding(Weight.ERROR, "missing", PLACE, "there is no calendar"),)
    found: list[Finding] = []
    policy = _readable(deepcopy(written), found)
    if policy is None:
        return tuple(found)
    semantic = check_calendar(policy, today=today, longest_business_days=_longest(clocks))
    return (*found, *(one for one in semantic if not (found and one.code in ("never_opens", "nominal_day"))))


def check_calendar(
    policy: CalendarPolicy, *, today: date | None = None, longest_business_days: int = 0
) -> tuple[Finding, ...]:
    """Findings about a calendar; without `today` nothing is said to be too late already (L2, L3)."""
    return (
        *_hours(policy),
        *_special_days(policy),
        *_outside(policy),
        *_zone(policy, today),
        *_holidays(policy, today, longest_business_days),
    )


def _part(document: Any, key: str) -> dict[str, Any]:
    found = document.get(key) if isinstance(document, dict) else None
    return found if isinstance(found, dict) else {}


def _readable(written: dict[str, Any], found: list[Finding]) -> CalendarPolicy | None:
    """The calendar without what cannot be read, which is added to what was found."""
    hours = _part(written, "opening_hours")
    for key in [key for key in hours if key not in WEEKDAYS]:
        hours.pop(key)
        meant = get_close_matches(str(key).lower(), WEEKDAYS, n=1)
        text = f"{key} is not a weekday" + (f"; {meant[0]} is meant?" if meant else "")
        found.append(_error("weekday", text, "opening_hours", str(key)))
    for _ in range(2):
        try:
            return CalendarPolicy.model_validate(written)
        except ValidationError as error:
            faults = error.errors(include_url=False, include_context=False, include_input=False)
        places = [tuple(part for part in fault["loc"] if part != "[key]") for fault in faults]
        found += [
            _error("unreadable", fault["msg"].removeprefix("Value error, "), *place)
            for fault, place in zip(faults, places, strict=True)
        ]
        for place in sorted(places, key=lambda place: [str(part).rjust(6) for part in place], reverse=True):
            _leave_out(written, place)
    return None


def _leave_out(written: Any, place: Place) -> None:
    """Forget the window, the day or the optional part that cannot be read."""
    if len(place) > 1 and place[0] == "holidays":
        written.pop("holidays", None)
        return
    *path, last = place
    for part in path:
        written = _at(written, part)
    if isinstance(written, dict):
        written.pop(next((key for key in written if str(key) == str(last)), None), None)
    elif isinstance(written, list) and isinstance(last, int) and last < len(written):
        written.pop(last)


def _at(written: Any, part: str | int) -> Any:
    if isinstance(written, dict):
        return next((value for key, value in written.items() if str(key) == str(part)), None)
    return written[part] if isinstance(written, list) and isinstance(part, int) and part < len(written) else None


def _longest(clocks: Mapping[str, Any]) -> int:
    """The most business days that a target of the policy counts."""
    longest = 2  # next_business_day
    for group in ("targets", "overlays"):
        for row in _part(clocks, group).values():
            for text in row.values() if isinstance(row, dict) else ():
                try:
                    target = Target.model_validate(text)
                except ValidationError:
                    continue
                if target.unit is Unit.BUSINESS_DAYS:
                    longest = max(longest, target.amount)
    return longest


def _hours(policy: CalendarPolicy) -> Iterator[Finding]:
    """The week: it opens, windows have a length, none runs into another, and the nominal day is one of its days."""
    week = [policy.opening_hours.get(day, ()) for day in WEEKDAYS]
    if not any(week):
        yield _error("never_opens", "no weekday has opening hours", "opening_hours")
        return
    for number, (key, windows) in enumerate(zip(WEEKDAYS, week, strict=True)):
        yield from _empty(windows, "opening_hours", key)
        yield from _overlap(windows, "opening_hours", key)
        tomorrow = WEEKDAYS[(number + 1) % 7]
        yield from _runs_over(windows, policy.opening_hours.get(tomorrow, ()), tomorrow, "opening_hours", key)
    lengths = sorted({sum(map(_minutes, windows)) for windows in week if windows})
    if policy.nominal_day_minutes not in lengths:
        days = ", ".join(f"{minutes} minutes" for minutes in lengths)
        text = f"a business day is worth {policy.nominal_day_minutes} minutes, but the weekdays have {days}"
        yield _warning("nominal_day", text, "nominal_day_minutes")


def _special_days(policy: CalendarPolicy) -> Iterator[Finding]:
    for day, windows in sorted(policy.special_days.items()):
        place = ("special_days", day.isoformat())
        if day in policy.closed_days:
            yield _error("closed_and_special", "the day is a closed day too", *place)
        yield from _empty(windows, *place)
        yield from _overlap(windows, *place)
        before, after = _windows(policy, day - _DAY), _windows(policy, day + _DAY)
        yield from _runs_over(windows, after, (day + _DAY).isoformat(), *place)
        if day - _DAY not in policy.special_days:
            for _ in _runs_over(before, windows, "", *place):
                yield _error("overlap", f"the hours of {day - _DAY} run into them over midnight", *place)


def _outside(policy: CalendarPolicy) -> Iterator[Finding]:
    """Days that no calendar reaches: a slip in the year."""
    for part, days in (("closed_days", policy.closed_days), ("special_days", policy.special_days)):
        for day in sorted(days):
            if day.year not in HORIZON:
                text = f"calendars know the years {HORIZON[0]} to {HORIZON[-1]} only"
                yield _warning("outside_horizon", text, part, day.isoformat())


def _windows(policy: CalendarPolicy, day: date) -> Sequence[Window]:
    """The hours of a day by what is written; public holidays are looked at elsewhere."""
    if day in policy.special_days:
        return policy.special_days[day]
    return () if day in policy.closed_days else policy.opening_hours.get(WEEKDAYS[day.weekday()], ())


def _empty(windows: Sequence[Window], *place: str) -> Iterator[Finding]:
    for number, window in enumerate(windows):
        if window.opens == window.closes != time():
            yield _error("empty_window", f"{_text(window)} closes when it opens", *place, number)


def _overlap(windows: Sequence[Window], *place: str) -> Iterator[Finding]:
    ordered = sorted(enumerate(windows), key=lambda item: item[1].opens)
    for (_, first), (number, second) in pairwise(ordered):
        if _start(second) < _end(first):
            yield _error("overlap", f"{_text(second)} overlaps {_text(first)}", *place, number)


def _runs_over(windows: Sequence[Window], next_day: Sequence[Window], which: str, *place: str) -> Iterator[Finding]:
    """Hours that go on over midnight when the next day has opened."""
    first = min(next_day, key=_start, default=None)
    for number, window in enumerate(windows):
        if first is not None and _end(window) - _DAY_MINUTES > _start(first):
            text = f"{_text(window)} runs over midnight into {_text(first)} of {which}"
            yield _error("overlap", text, *place, number)


def _zone(policy: CalendarPolicy, today: date | None) -> Iterator[Finding]:
    """The zone is known, and no window disappears when its clocks are put forward."""
    try:
        zone = ZoneInfo(policy.zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        yield _error("zone", f"there is no time zone {policy.zone}", "zone")
        return
    lost: dict[tuple[str, int], list[date]] = {}
    for day in _days_put_forward(zone, today or date(HORIZON[0], 1, 1)):
        special = day in policy.special_days
        key = day.isoformat() if special else WEEKDAYS[day.weekday()]
        for number, window in enumerate(_windows(policy, day)):
            if _swallowed(day, window, zone):
                lost.setdefault((key, number), []).append(day)
    for (key, number), days in lost.items():
        special = key not in WEEKDAYS
        window = (policy.special_days[days[0]] if special else policy.opening_hours[key])[number]
        more = f" and on {len(days) - 1} later days" if len(days) > 1 else ""
        text = f"{_text(window)} does not exist on {days[0]}{more}: the clocks are put forward over it"
        place = ("special_days" if special else "opening_hours", key, number)
        yield _error("skipped_hour", text, *place) if special else _warning("skipped_hour", text, *place)


def _days_put_forward(zone: ZoneInfo, since: date) -> Iterator[date]:
    day, end = since, date(HORIZON[-1] + 1, 1, 1)
    offset = _offset(datetime.combine(day, time()), zone)
    while day < end:
        after = _offset(datetime.combine(day + _DAY, time()), zone)
        if after > offset:
            yield day
        day, offset = day + _DAY, after


def _swallowed(day: date, window: Window, zone: ZoneInfo) -> bool:
    """Whether both ends of a window lie in the hour that the clocks skip."""
    if window.closes <= window.opens and window.closes != time():
        return False
    closes = datetime.combine(day if window.closes > window.opens else day + _DAY, window.closes) - _TICK
    return all(
        _offset(wall, zone) < _offset(wall.replace(fold=1), zone)
        for wall in (datetime.combine(day, window.opens), closes)
    )


def _offset(wall: datetime, zone: ZoneInfo) -> timedelta:
    offset = wall.replace(tzinfo=zone).utcoffset()
    assert offset is not None
    return offset


def _holidays(policy: CalendarPolicy, today: date | None, longest_business_days: int) -> Iterator[Finding]:
    """They are known, and for as long as the longest target counts."""
    if policy.holidays is None:
        return
    try:
        known_until = public_holidays(policy.holidays).known_until
    except UnknownHolidays as error:
        yield _error("holidays", str(error), "holidays")
        return
    place = ", ".join(filter(None, (policy.holidays.country, policy.holidays.subdivision)))
    text = f"the holidays of {place} are known up to {known_until} only"
    week = sum(_minutes(window) for windows in policy.opening_hours.values() for window in windows)
    if today is not None and week:
        longest = timedelta(weeks=longest_business_days * policy.nominal_day_minutes / week + 1)
        needed = (today + longest).year
        if known_until < needed:
            text += f", but {longest_business_days} business days from now reach into {needed}"
            yield _error("holidays_end", text, "holidays")
            return
    if known_until < HORIZON[-1]:
        yield _warning("holidays_end", f"{text}; later ones have to be closed days", "holidays")


def _start(window: Window) -> int:
    return window.opens.hour * 60 + window.opens.minute


def _end(window: Window) -> int:
    """In minutes from the midnight before it opens."""
    closes = window.closes.hour * 60 + window.closes.minute
    return closes if window.closes > window.opens else closes + _DAY_MINUTES


def _minutes(window: Window) -> int:
    return _end(window) - _start(window)


def _text(window: Window) -> str:
    closes = "24:00" if window.closes == time() else f"{window.closes:%H:%M}"
    return f"{window.opens:%H:%M}-{closes}"


def _error(code: str, text: str, *place: str | int) -> Finding:
    return Finding(Weight.ERROR, code, (*PLACE, *place), text)


def _warning(code: str, text: str, *place: str | int) -> Finding:
    return Finding(Weight.WARNING, code, (*PLACE, *place), text)
