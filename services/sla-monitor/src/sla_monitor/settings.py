"""Every environment variable of the sla-monitor, and the calendar that its policy makes."""

import structlog
from pydantic import Field

from shared.policy.calendar_check import Weight, check_calendar
from shared.policy.model import CalendarPolicy
from shared.policy.public_holidays import public_holidays
from shared.runtime.settings import ServiceSettings
from sla_monitor.domain.business_time import Calendar, CalendarRefused, compile_calendar
from sla_monitor.domain.targets import Rules

log = structlog.get_logger()


class SlaMonitorSettings(ServiceSettings):
    """What the sla-monitor needs to run: nothing beyond what every service does."""

    http_port: int = Field(default=8082, ge=0, le=65535)

    def rules(self) -> Rules:
        """The policy in force and its calendar, compiled; what is odd about the calendar is logged.

        Raises:
            CalendarRefused: the calendar contradicts itself or its holidays are not known (L3).
        """
        policy = self.policy()
        calendar = load_calendar(policy.clocks.calendar)
        for finding in check_calendar(policy.clocks.calendar):
            log.warning("calendar_odd", code=finding.code, finding=str(finding))
        return Rules.of(policy, calendar)


def load_calendar(policy: CalendarPolicy) -> Calendar:
    """The policy's calendar with the public holidays of its country, observed days included (L2).

    Raises:
        CalendarRefused: it contradicts itself, or nobody knows the holidays of its country; all errors are told (L3).
    """
    if errors := [str(finding) for finding in check_calendar(policy) if finding.weight is Weight.ERROR]:
        raise CalendarRefused(f"{policy.id}: " + "; ".join(errors))
    return compile_calendar(policy, public_holidays(policy.holidays).days if policy.holidays else {})
