"""Every environment variable of the sla-monitor, and the calendar that its policy makes."""

import structlog
from pydantic import Field

from shared.policy.business_time import load_calendar
from shared.policy.calendar_check import check_calendar
from shared.runtime.settings import ServiceSettings
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
