"""Every environment variable of the sla-monitor, and the calendar that its policy makes."""

import holidays
from pydantic import Field

from shared.policy.model import CalendarPolicy
from shared.runtime.settings import ServiceSettings
from sla_monitor.domain.business_time import HORIZON, Calendar, CalendarRefused, compile_calendar
from sla_monitor.domain.clock import Rules


class SlaMonitorSettings(ServiceSettings):
    """What the sla-monitor needs to run: nothing beyond what every service does."""

    http_port: int = Field(default=8082, ge=0, le=65535)

    def rules(self) -> Rules:
        """The policy in force and its calendar, compiled.

        Raises:
            CalendarRefused: the calendar contradicts itself or its holidays are not known (L3).
        """
        policy = self.policy()
        return Rules(policy, load_calendar(policy.clocks.calendar))


def load_calendar(policy: CalendarPolicy) -> Calendar:
    """The policy's calendar with the public holidays of its country, observed days included (L2).

    Raises:
        CalendarRefused: it contradicts itself, or nobody knows the holidays of its country (L3).
    """
    if policy.holidays is None:
        return compile_calendar(policy, {})
    try:
        closed = holidays.country_holidays(policy.holidays.country, subdiv=policy.holidays.subdivision, years=HORIZON)
    except NotImplementedError as error:
        raise CalendarRefused(f"{policy.id}: {error}") from None
    return compile_calendar(policy, closed)
