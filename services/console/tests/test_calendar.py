"""`supportctl calendar`: what is wrong with a policy file, by line, and closed days out of an iCal file."""

import random
import sys
from contextlib import suppress
from datetime import date
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from console.app import app
from console.ical import LARGEST_FILE, Imported, NotImported, read_closed_days
from shared.policy.model import WEEKDAYS, CalendarPolicy

YEARS = range(2026, 2029)
POLICY = """\
clocks:
  targets: {}
  calendar:
    id: berlin-office
    zone: Europe/Berlin
    nominal_day_minutes: 420
    opening_hours:
      monday: ["09:00-17:00"]
      wendesday: ["09:00-17:00"]
      friday:
        - "09:00-13:00"
        - "12:00-17:00"
"""


def supportctl(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["calendar", *arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "a-file"


def test_the_check_names_line_weight_and_place_and_fails_on_errors(file: Path) -> None:
    """(L3)"""
    file.write_text(POLICY)
    code, told, _ = supportctl("check", str(file))
    assert code == 1
    assert told.splitlines() == [
        f"{file}:9: error: clocks.calendar.opening_hours.wendesday: "
        "wendesday is not a weekday; wednesday is meant? (weekday)",
        f"{file}:12: error: clocks.calendar.opening_hours.friday[1]: 12:00-17:00 overlaps 09:00-13:00 (overlap)",
        "2 errors, 0 warnings",
    ]


def test_warnings_do_not_fail(file: Path) -> None:
    """(L3)"""
    file.write_text(POLICY.replace("wendesday", "wednesday").replace("12:00-17:00", "13:00-18:00"))
    code, told, _ = supportctl("check", str(file))
    assert code == 0
    assert told.startswith(f"{file}:6: warning: clocks.calendar.nominal_day_minutes: ")
    assert told.endswith("0 errors, 1 warnings\n")


def test_the_policy_that_ships_passes() -> None:
    """(L2)"""
    assert supportctl("check")[:2] == (0, "0 errors, 0 warnings\n")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a: [", b"a: 2026-13-01"])
def test_what_is_no_yaml_is_a_sentence(content: bytes, file: Path) -> None:
    file.write_bytes(content)
    code, told, failure = supportctl("check", str(file))
    assert (code, told) == (1, "")
    assert failure.replace("\n", "") == f"{file} cannot be read as YAML"


# --- iCal -----------------------------------------------------------------------------------------------------------------


def event(*lines: str, summary: str = "A day") -> str:
    return "\r\n".join(("BEGIN:VEVENT", "UID:1", f"SUMMARY:{summary}", *lines, "END:VEVENT", ""))


def ical(*events: str) -> str:
    return "".join(("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//\r\n", *events, "END:VCALENDAR\r\n"))


def imported(file: Path, *events: str, years: range = YEARS) -> Imported:
    file.write_text(ical(*events), newline="")
    return read_closed_days(file, years)


def days(file: Path, *lines: str, years: range = YEARS) -> list[str]:
    return [day.isoformat() for day in sorted(imported(file, event(*lines), years=years).days)]


def test_the_import_prints_yaml_that_the_policy_takes(file: Path) -> None:
    """What stands in the file is what the calendar then has (L3)."""
    file.write_text(
        ical(
            event("DTSTART;VALUE=DATE:20260403", summary="Karfreitag\\, frei: \x1b[31m#1"),
            event("DTSTART;VALUE=DATE:20260406", "DTEND;VALUE=DATE:20260408", summary="Easter"),
            event("DTSTART:20260407T100000Z", summary="Meeting"),
        ),
        newline="",
    )
    code, told, left_out = supportctl("import", str(file), "--first-year", "2026")
    assert code == 0
    assert yaml.safe_load(told)["closed_days"] == {
        date(2026, 4, 3): "Karfreitag, frei: [31m#1",
        date(2026, 4, 6): "Easter",
        date(2026, 4, 7): "Easter",
    }
    assert left_out == "left out: Meeting: has hours: that is a special day at most\n"
    policy = {"id": "x", "zone": "UTC", "nominal_day_minutes": 480, "opening_hours": {WEEKDAYS[0]: []}}
    assert len(CalendarPolicy.model_validate(policy | yaml.safe_load(told)).closed_days) == 3


CHRISTMAS = ("DTSTART;VALUE=DATE:20201225",)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (CHRISTMAS, []),
        ((*CHRISTMAS, "RRULE:FREQ=YEARLY"), ["2026-12-25", "2027-12-25", "2028-12-25"]),
        ((*CHRISTMAS, "RRULE:FREQ=YEARLY;INTERVAL=4"), ["2028-12-25"]),
        ((*CHRISTMAS, "RRULE:FREQ=YEARLY;COUNT=8"), ["2026-12-25", "2027-12-25"]),
        ((*CHRISTMAS, "RRULE:FREQ=YEARLY;UNTIL=20271225"), ["2026-12-25", "2027-12-25"]),
        ((*CHRISTMAS, "RRULE:FREQ=YEARLY;UNTIL=20271224T235959Z"), ["2026-12-25"]),
        ((*CHRISTMAS, "RRULE:FREQ=YEARLY", "EXDATE;VALUE=DATE:20271225,20281225"), ["2026-12-25"]),
        ((*CHRISTMAS, "RDATE;VALUE=DATE:20261224"), ["2026-12-24"]),
        (
            ("DTSTART;VALUE=DATE:20251231", "DURATION:P2D", "RRULE:FREQ=YEARLY;COUNT=2"),
            ["2026-01-01", "2026-12-31", "2027-01-01"],
        ),
        (("DTSTART;VALUE=DATE:20240229", "RRULE:FREQ=YEARLY"), ["2028-02-29"]),
        (
            ("DTSTART;VALUE=DATE:20201126", "RRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=4TH"),
            ["2026-11-26", "2027-11-25", "2028-11-23"],
        ),
        (
            ("DTSTART;VALUE=DATE:20200525", "RRULE:FREQ=YEARLY;BYMONTH=5;BYDAY=-1MO"),
            ["2026-05-25", "2027-05-31", "2028-05-29"],
        ),
        (("DTSTART;VALUE=DATE:20260101", "RRULE:FREQ=YEARLY;BYDAY=-1FR;COUNT=1"), ["2026-12-25"]),
        (("DTSTART;VALUE=DATE:20260101", "RRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=-1;COUNT=1"), ["2026-02-28"]),
        (
            ("DTSTART;VALUE=DATE:20260213", "RRULE:FREQ=YEARLY;BYMONTHDAY=13;BYDAY=FR;COUNT=2"),
            ["2026-02-13", "2026-03-13"],
        ),
        (("DTSTART;VALUE=DATE:20260101", "RRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"), []),
        (("DTSTART;VALUE=DATE:20260501", "DTEND;VALUE=DATE:20260501"), ["2026-05-01"]),
        (("DTSTART:20260501T000000", "X-MICROSOFT-CDO-ALLDAYEVENT:TRUE", "DTEND:20260502T000000"), ["2026-05-01"]),
    ],
    ids=str,
)
def test_days_of_an_event(lines: tuple[str, ...], expected: list[str], file: Path) -> None:
    """Ranges end before their end; yearly days come back, and only yearly ones (RFC 5545, 3.3.10, 3.6.1)."""
    assert days(file, *lines) == expected


def test_a_day_that_was_moved_is_not_told_twice(file: Path) -> None:
    """One of a series may be elsewhere, or cancelled."""
    series = event("DTSTART;VALUE=DATE:20200501", "RRULE:FREQ=YEARLY")
    moved = event("RECURRENCE-ID;VALUE=DATE:20270501", "DTSTART;VALUE=DATE:20270503")
    cancelled = event("RECURRENCE-ID;VALUE=DATE:20280501", "DTSTART;VALUE=DATE:20280501", "STATUS:CANCELLED")
    found = imported(file, series, moved, cancelled)
    assert sorted(found.days) == [date(2026, 5, 1), date(2027, 5, 3)]
    assert found.left_out == ["A day: cancelled"]


def test_two_events_of_one_day_are_both_named(file: Path) -> None:
    """(L15)"""
    found = imported(
        file, *(event("DTSTART;VALUE=DATE:20260501", summary=name) for name in ("May Day", "Party", "Party"))
    )
    assert found.days == {date(2026, 5, 1): "May Day; Party"}


def test_a_series_from_the_middle_ages_is_not_counted_out(file: Path) -> None:
    """What an event may cost is bounded."""
    found = imported(file, event("DTSTART;VALUE=DATE:00010101", "RRULE:FREQ=YEARLY;COUNT=100000000"))
    assert (found.days, found.left_out) == ({}, ["A day: began before 1900"])


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("FREQ=WEEKLY", "repeats weekly, not yearly"),
        ("FREQ=YEARLY;BYSETPOS=1;BYDAY=MO", "repeats by BYSETPOS, which is not understood"),
        ("FREQ=SECONDLY;INTERVAL=1", "repeats secondly, not yearly"),
    ],
)
def test_what_is_not_understood_is_left_out_and_told(rule: str, why: str, file: Path) -> None:
    """Nothing is guessed, nothing disappears silently."""
    found = imported(file, event("DTSTART;VALUE=DATE:20260501", f"RRULE:{rule}"))
    assert (found.days, found.left_out) == ({}, [f"A day: {why}"])


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is not an iCal file"),
        (b"hello", "is not an iCal file"),
        (b"\xff\xfe\x00", "is not an iCal file"),
        (b"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\n", "is not an iCal file"),
        (b"BEGIN:VCARD\r\nFN:x\r\nEND:VCARD\r\n", "is not an iCal file"),
        (b"BEGIN:VCALENDAR\r\n" + 6000 * b"BEGIN:VEVENT\r\n", "more than 5000 entries"),
        (b"x" * (LARGEST_FILE + 1), "is larger than"),
        (ical(event("DTSTART;VALUE=DATE:2026xx03")).encode(), "A day: DTSTART cannot be read"),
        (ical(event("DTSTART;VALUE=DATE:20260503", "RRULE:FREQ=NEVER")).encode(), "A day: RRULE cannot be read"),
        (ical(event("DTSTAMP:20260503T000000Z")).encode(), "there is no DTSTART"),
        (
            ical(event("DTSTART;VALUE=DATE:20260503", "DTEND;VALUE=DATE:99990101")).encode(),
            "longer than 366 days",
        ),
        (ical(event("DTSTART;VALUE=DATE:99991231")).encode(), "longer than 366 days"),
        (
            ical(*(201 * [event("DTSTART;VALUE=DATE:20260503", "RRULE:FREQ=YEARLY")])).encode(),
            "more than 200 series",
        ),
        (
            ical(event("DTSTART;VALUE=DATE:20000101", "RRULE:FREQ=YEARLY;BYDAY=MO,TU,WE,TH,FR,SA,SU")).encode(),
            "more than 10000 closed days",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_hostile_or_broken_file_is_a_sentence(content: bytes, why: str, file: Path) -> None:
    """Its size, its events and its days are bounded."""
    file.write_bytes(content)
    with pytest.raises(NotImported, match=why):
        read_closed_days(file, range(2000, 2061))
    assert supportctl("import", str(file), "--first-year", "2000", "--years", "100")[:2] == (1, "")


LINES = (
    "DTSTART;VALUE=DATE:20260503",
    "DTSTART;VALUE=PERIOD:20260503T000000Z/P1D",
    "DTSTART:00010101T000000",
    "DTEND;VALUE=DATE:20260505",
    "DTEND:20260505T000000Z",
    "DURATION:-P3D",
    "DURATION:PT1S",
    "DURATION:P999999999D",
    "RRULE:FREQ=YEARLY;COUNT=-1;INTERVAL=0",
    "RRULE:FREQ=YEARLY;BYMONTH=13,5L;BYMONTHDAY=0,99;BYDAY=99MO,-99TU",
    "RRULE:FREQ=YEARLY;UNTIL=00010101",
    "RRULE:",
    "RDATE;VALUE=PERIOD:20260503T000000Z/P1D",
    "RDATE;VALUE=DATE:",
    "EXDATE;VALUE=DATE:20260503,x",
    "RECURRENCE-ID;RANGE=THISANDFUTURE;VALUE=DATE:20260503",
    "RECURRENCE-ID:x",
    "SUMMARY;LANGUAGE=de:zwei",
    "STATUS:CANCELLED",
    "X-MICROSOFT-CDO-ALLDAYEVENT:TRUE",
    "BEGIN:VALARM",
    "END:VALARM",
    "=;:,",
)


def test_no_mixture_of_lines_ends_in_a_trace(file: Path) -> None:
    """An answer or a sentence, whatever stands in an event."""
    chance = random.Random(7)
    answered = 0
    for _ in range(400):
        lines = chance.choices(LINES, k=chance.randrange(1, 5))
        with suppress(NotImported):
            answered += bool(imported(file, event(LINES[0], *lines)).days)
    assert answered > 30


def test_a_calendar_without_days_and_a_year_that_no_calendar_knows(file: Path) -> None:
    assert imported(file).as_yaml() == "closed_days: {}"
    with pytest.raises(NotImported, match="2000 to 2060"):
        read_closed_days(file, range(2070, 2080))


def test_a_missing_library_is_a_sentence(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is not installed by default."""
    file.write_text(ical())
    monkeypatch.setitem(sys.modules, "icalendar", None)
    code, _, failure = supportctl("import", str(file))
    assert code == 1
    assert failure == "this needs the extra: install console[ical]\n"
