"""The calendar that ships: New York office hours and the federal holidays of the United States."""

from datetime import date, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from structlog.testing import capture_logs

from shared.policy.business_time import Calendar, CalendarRefused, load_calendar
from shared.policy.model import CalendarPolicy, Policy
from sla_monitor.domain.targets import Rules
from sla_monitor.settings import SlaMonitorSettings

NEW_YORK = ZoneInfo("America/New_York")


@pytest.fixture
def calendar(shipped_rules: Rules) -> Calendar:
    return shipped_rules.calendar


@pytest.mark.parametrize(
    ("closed", "why"),
    [
        (date(2021, 12, 31), "New Year's Day observed in the year before"),
        (date(2026, 1, 19), "Martin Luther King Jr. Day"),
        (date(2026, 2, 16), "Washington's Birthday"),
        (date(2026, 6, 19), "Juneteenth"),
        (date(2026, 7, 3), "Independence Day observed"),
        (date(2026, 10, 12), "Columbus Day"),
        (date(2026, 11, 11), "Veterans Day"),
        (date(2026, 11, 26), "Thanksgiving"),
        (date(2034, 12, 25), "Christmas, years ahead"),
    ],
    ids=str,
)
def test_federal_holidays_are_closed_observed_days_included(calendar: Calendar, closed: date, why: str) -> None:
    """(L2)"""
    morning = datetime(closed.year, closed.month, closed.day, tzinfo=NEW_YORK)
    assert calendar.measure(morning, morning + timedelta(hours=20)) == timedelta(0)


def test_the_examples_of_the_policy(calendar: Calendar) -> None:
    """Created Tuesday 14:00, one business day is Wednesday 14:00; Friday 18:00 ends Monday 17:00 (L3)."""
    tuesday, friday = datetime(2026, 3, 3, 14, tzinfo=NEW_YORK), datetime(2026, 3, 6, 18, tzinfo=NEW_YORK)
    assert calendar.add(tuesday, calendar.nominal_day) == datetime(2026, 3, 4, 14, tzinfo=NEW_YORK)
    assert calendar.add(friday, calendar.nominal_day) == datetime(2026, 3, 9, 17, tzinfo=NEW_YORK)


def test_a_country_without_known_holidays_is_refused(policy: Policy) -> None:
    """(L3)"""
    nowhere = policy.clocks.calendar.model_dump() | {"holidays": {"country": "XX"}}
    with pytest.raises(CalendarRefused, match="new-york-office"):
        load_calendar(CalendarPolicy.model_validate(nowhere))


def test_a_refused_calendar_is_told_with_all_its_errors(policy: Policy) -> None:
    """Each with its place in the policy (L3)."""
    wrong = policy.clocks.calendar.model_dump() | {
        "zone": "Europe/Atlantis",
        "opening_hours": {"monday": ["09:00-13:00", "12:00-17:00"], "friday": ["09:00-09:00"]},
    }
    with pytest.raises(CalendarRefused) as refused:
        load_calendar(CalendarPolicy.model_validate(wrong))
    for place in ("opening_hours.monday[1]", "opening_hours.friday[0]", "zone"):
        assert f"clocks.calendar.{place}: " in str(refused.value)


def test_what_is_odd_about_a_calendar_is_logged_once_and_refuses_nothing(tmp_path: Path) -> None:
    """(L3)"""
    numbers = (files("shared.policy") / "policy.yaml").read_text()
    file = tmp_path / "policy.yaml"
    file.write_text(numbers.replace("nominal_day_minutes: 480", "nominal_day_minutes: 420"))
    settings = SlaMonitorSettings.model_validate(
        {"kafka_bootstrap_servers": "127.0.0.1:9", "database_url": "postgresql://nowhere", "policy_file": file}
    )
    with capture_logs() as logged:
        assert settings.rules().calendar.nominal_day == timedelta(minutes=420)
    assert [(line["event"], line["code"]) for line in logged] == [("calendar_odd", "nominal_day")]
