"""`make bench-calendar`: the same business-time questions to our calendar and to two libraries of the field.

Prints how much longer they take and where they disagree; why they do stands in services/sla-monitor/README.md. They are installed
for this alone. What a library has no way to say (several windows, half-days) is not held against its speed.
"""

import argparse
import os
import random
import signal
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytz
from business_duration import businessDuration
from businesstimedelta import BusinessTimeDelta, HolidayRule, LunchTimeRule, Rules, WorkDayRule
from rich.console import Console
from rich.table import Table

from shared.policy.business_time import Calendar, compile_calendar
from shared.policy.model import WEEKDAYS, CalendarPolicy

YEARS = range(2025, 2029)
PATIENCE_SECONDS = 2.0
REPETITIONS = 7
SECOND = timedelta(seconds=1)
GERMANY = ("2026-01-01", "2026-04-03", "2026-04-06", "2026-05-01", "2026-12-25")
NEW_YORK = ("2026-07-03", "2026-11-26", "2026-12-25")
NO_ANSWER = "no answer"

out = Console(highlight=False, width=160)


@dataclass(frozen=True)
class Office:
    """A calendar as each contender takes it; None where it has no way to say it."""

    zone: str
    hours: tuple[str, ...]
    days: int = 5
    closed: tuple[str, ...] = ()
    special: dict[str, list[str]] = field(default_factory=dict)

    @property
    def ours(self) -> Calendar:
        policy = {
            "id": "bench",
            "zone": self.zone,
            "nominal_day_minutes": 480,
            "opening_hours": dict.fromkeys(WEEKDAYS[: self.days], self.hours),
            "closed_days": dict.fromkeys(self.closed, "closed"),
            "special_days": self.special,
        }
        return compile_calendar(CalendarPolicy.model_validate(policy), {}, YEARS)

    @property
    def ends(self) -> tuple[Any, Any]:
        """Opening and closing of the whole day; they know the last second of a day, not its end."""
        opens, closes = self.hours[0][:5], self.hours[-1][6:]
        last = "23:59:59" if closes == "24:00" else closes
        return datetime.fromisoformat(f"2026-01-01 {opens}").time(), datetime.fromisoformat(f"2026-01-01 {last}").time()

    @property
    def closed_dates(self) -> list[date]:
        return [date.fromisoformat(day) for day in self.closed]


OFFICES = {
    "office hours": Office("Europe/Berlin", ("09:00-17:00",)),
    "holidays": Office("Europe/Berlin", ("09:00-17:00",), closed=GERMANY),
    "parts of a second": Office("Europe/Berlin", ("09:00-17:00",)),
    "lunch": Office("Europe/Berlin", ("09:00-12:00", "13:00-17:00")),
    "half-day": Office("Europe/Berlin", ("09:00-17:00",), closed=GERMANY, special={"2026-12-24": ["09:00-13:00"]}),
    "night shift": Office("Europe/Berlin", ("22:00-06:00",), days=7),
    "night of the change": Office("Europe/Berlin", ("22:00-06:00",), days=7),
    "always open": Office("Europe/Berlin", ("00:00-24:00",), days=7),
    "always open, change": Office("Europe/Berlin", ("00:00-24:00",), days=7),
    "half-hour zone": Office("Asia/Kolkata", ("09:00-17:00",)),
    "New York": Office("America/New_York", ("09:00-17:00",), closed=NEW_YORK),
}

SCENARIOS = (
    ("HD-02", "holidays", "2026-03-02 10:00", 8),
    ("HD-05", "holidays", "2026-03-02 17:00", 8),
    ("HD-06", "holidays", "2026-04-02 14:00", 16),
    ("HD-06", "holidays", "2026-04-02 14:00", 40),
    ("HD-07", "holidays", "2026-12-24 10:00", 24),
    ("HD-07", "half-day", "2026-12-24 10:00", 8),
    ("HD-09", "lunch", "2026-03-02 11:30", 2),
    ("HD-09", "lunch", "2026-03-02 12:30", 1),
    ("HD-10", "always open", "2026-03-02 23:30", 1),
    ("HD-11", "holidays", "2026-03-27 15:00", 8),
    ("HD-14", "night of the change", "2026-03-28 23:00", 4),
    ("HD-14", "night of the change", "2026-03-28 23:00", 7),
    ("HD-14", "night of the change", "2026-10-24 23:00", 4),
    ("HD-17", "half-hour zone", "2026-03-02 16:30", 2),
    ("HD-18", "New York", "2026-11-25 16:00", 8),
)
"""Acceptance scenario, office, local start, hours."""


class Field:
    """The libraries on one office: each answers in its own way, or not at all."""

    def __init__(self, office: Office) -> None:
        self.office = office
        self.zone = ZoneInfo(office.zone)
        self.rules = None if office.special else _rules(office)
        opens, closes = office.ends
        self.duration = {
            "starttime": opens,
            "endtime": closes,
            "weekendlist": [*range(office.days, 7)],
            "holidaylist": office.closed_dates,
            "unit": "sec",
        }

    def add(self, start: datetime, length: timedelta) -> datetime | None:
        """businesstimedelta."""
        if self.rules is None:
            return None
        answer: datetime = BusinessTimeDelta(self.rules, timedelta=length) + start
        return answer.astimezone(UTC)

    def measure(self, start: datetime, end: datetime) -> timedelta | None:
        """businesstimedelta."""
        return None if self.rules is None else self.rules.difference(start, end).timedelta

    def duration_of(self, start: datetime, end: datetime) -> timedelta | None:
        """business-duration: by the wall clock, one window a day, in seconds."""
        if self.office.special or len(self.office.hours) > 1:
            return None
        walls = (instant.astimezone(self.zone).replace(tzinfo=None) for instant in (start, end))
        return timedelta(seconds=float(businessDuration(*walls, **self.duration)))


def _rules(office: Office) -> Any:
    zone = pytz.timezone(office.zone)
    opens, closes = office.ends
    days = [*range(office.days)]
    rules: list[Any] = [WorkDayRule(start_time=opens, end_time=closes, working_days=days, tz=zone)]
    for before, after in zip(office.hours, office.hours[1:], strict=False):
        starts, ends = (datetime.fromisoformat(f"2026-01-01 {at}").time() for at in (before[6:], after[:5]))
        rules.append(LunchTimeRule(start_time=starts, end_time=ends, working_days=days, tz=zone))
    if office.closed:  # it looks five years ahead and fails where none is left
        rules.append(HolidayRule([*office.closed_dates, date(2031, 1, 1)], tz=zone))
    return Rules(rules) if len(rules) > 1 else rules[0]


def vectors(name: str, count: int, chance: random.Random) -> Iterator[tuple[datetime, timedelta]]:
    """Random starts and lengths of an office; whole minutes, except where parts of a second are the question."""
    for _ in range(count):
        if name in ("night of the change", "always open, change"):
            around = chance.choice((datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)))
            start = around + timedelta(minutes=chance.randrange(-600, 300))
        elif name == "half-day":
            start = datetime(2026, 12, 23, 7, tzinfo=UTC) + timedelta(minutes=chance.randrange(2000))
        elif name in ("office hours", "night shift", "always open", "parts of a second"):
            start = datetime(2026, 5, 4, tzinfo=UTC) + timedelta(minutes=chance.randrange(60 * 24 * 120))
        else:
            start = datetime(2026, 1, 5, tzinfo=UTC) + timedelta(minutes=chance.randrange(60 * 24 * 330))
        length = timedelta(minutes=chance.randrange(1, 24 * 60))
        if name == "parts of a second":
            start += timedelta(microseconds=chance.randrange(1, 60_000_000))
            length += timedelta(microseconds=chance.randrange(1, 60_000_000))
        yield start, length


@contextmanager
def patience() -> Iterator[None]:
    """Some questions might never be answered; counted in this process's own time, so that a busy machine changes nothing."""

    def lost(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGVTALRM, lost)
    signal.setitimer(signal.ITIMER_VIRTUAL, PATIENCE_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def asked(question: Callable[..., Any], *arguments: Any) -> Any:
    try:
        with patience():
            return question(*arguments)
    except Exception as failure:  # whatever a contender throws is its answer
        return f"{NO_ANSWER}: {type(failure).__name__}"


@dataclass
class Tally:
    """How often one operation of a library disagrees on an office, and the first time it does."""

    asked: int = 0
    wrong: int = 0
    example: str = ""

    def hear(self, expected: Any, answer: Any, what: str) -> None:
        self.asked += 1
        if answer != expected:
            self.wrong += 1
            self.example = self.example or f"{what}: {_told(answer)}, ours {_told(expected)}"

    def __str__(self) -> str:
        return f"{self.wrong} of {self.asked}" if self.asked else "cannot be said"


def scenarios() -> Table:
    """The instants of the acceptance scenarios; business-duration only measures, so it is asked how long it is until due."""
    table = Table(
        "scenario",
        "from (UTC)",
        "time",
        "ours",
        "businesstimedelta",
        "business-duration",
        box=None,
        title="Due instants",
    )
    for scenario, name, local, hours in SCENARIOS:
        office = OFFICES[name]
        others, length = Field(office), timedelta(hours=hours)
        start = datetime.fromisoformat(local).replace(tzinfo=ZoneInfo(office.zone)).astimezone(UTC)
        due = office.ours.add(start, length)
        cells = (
            "the same" if answer == expected else "cannot be said" if answer is None else _told(answer)
            for answer, expected in (
                (asked(others.add, start, length), due),
                (asked(others.duration_of, start, due), length),
            )
        )
        table.add_row(f"{scenario} {name}", _told(start), str(length), _told(due), *cells)
    return table


def disagreements(count: int, seed: int) -> tuple[Table, list[str]]:
    """Per office, how many random questions are answered otherwise, and an example of each kind."""
    table = Table(
        "office",
        "businesstimedelta: add",
        "measure",
        "business-duration: measure",
        box=None,
        title="Answers that differ",
    )
    examples = []
    for name, office in OFFICES.items():
        calendar, others = office.ours, Field(office)
        tallies = {"businesstimedelta add": Tally(), "businesstimedelta measure": Tally(), "business-duration": Tally()}
        for start, length in vectors(name, count, random.Random(f"{seed} {name}")):
            due = calendar.add(start, length)
            end = start + 3 * length
            measured = calendar.measure(start, end)
            questions: list[tuple[Callable[..., Any], datetime, Any, Any]] = [
                (others.add, start, length, due),
                (others.measure, start, end, measured),
                (others.duration_of, start, end, measured),
            ]
            for (what, tally), (question, since, until, expected) in zip(tallies.items(), questions, strict=True):
                if tally.wrong > 5 and NO_ANSWER in tally.example:  # each costs the whole patience
                    continue
                answer = asked(question, since, until)
                if answer is not None:
                    to = f"plus {until}" if until == length else f"to {_told(until)}"
                    tally.hear(expected, answer, f"{name}, {what}: {_told(since)} {to}")
        table.add_row(name, *map(str, tallies.values()))
        examples += [tally.example for tally in tallies.values() if tally.example]
    return table, examples


def speed(count: int, seed: int) -> Table:
    """Microseconds a call on office hours with holidays, by turns in one run; the median of several."""
    calendar, others = OFFICES["holidays"].ours, Field(OFFICES["holidays"])
    chance = random.Random(seed)
    starts = [
        datetime(2026, 1, 5, tzinfo=UTC) + timedelta(minutes=chance.randrange(60 * 24 * 240)) for _ in range(count)
    ]
    table = Table("question", "ours", "businesstimedelta", "business-duration", box=None, title="Time a call")
    for days in (1, 5, 60):
        length = timedelta(hours=8 * days)
        ends = [calendar.add(start, length) for start in starts]
        asked_of: dict[str, tuple[tuple[Callable[..., Any], ...], Iterable[Any]]] = {
            "add": ((calendar.add, others.add), [(start, length) for start in starts]),
            "measure": ((calendar.measure, others.measure, others.duration_of), [*zip(starts, ends, strict=True)]),
        }
        for what, (questions, arguments) in asked_of.items():
            cells = _paced(questions, list(arguments))
            row = [f"{cells[0]:.2f} µs", *(f"{cell:,.0f} µs ({cell / cells[0]:,.0f}x)" for cell in cells[1:])]
            table.add_row(f"{what}, {days} business days", *row)
    return table


def _paced(questions: tuple[Callable[..., Any], ...], arguments: list[Any]) -> list[float]:
    """Microseconds a call of each, by turns."""
    found: dict[int, list[float]] = {number: [] for number in range(len(questions))}
    for _ in range(REPETITIONS):
        for number, question in enumerate(questions):
            rounds = 20 if number == 0 else 1
            started = time.perf_counter()
            for _ in range(rounds):
                for one in arguments:
                    question(*one)
            found[number].append((time.perf_counter() - started) / rounds / len(arguments) * 1e6)
    return [statistics.median(times) for times in found.values()]


def _told(value: Any) -> str:
    return f"{value:%Y-%m-%d %H:%M:%S}".removesuffix(":00") if isinstance(value, datetime) else str(value)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-calendar", description=__doc__)
    parser.add_argument("--count", type=int, default=300, help="random questions an office")
    parser.add_argument("--seed", type=int, default=5)
    arguments = parser.parse_args()
    businessDuration(date(2026, 1, 1), date(2026, 1, 2))  # loads pandas
    out.print(scenarios())
    table, examples = disagreements(arguments.count, arguments.seed)
    out.print(table)
    for example in examples:
        out.print(f"  {example}", markup=False)
    out.print(speed(min(arguments.count, 100), arguments.seed))
    out.print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, seed {arguments.seed}")


if __name__ == "__main__":
    main()
