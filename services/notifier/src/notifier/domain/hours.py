"""When a notice that may wait goes out (T6), and when a customer is asked whether the matter is solved (T5)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Self

from notifier.domain.notification import Template
from shared.policy.business_time import Calendar, load_calendar
from shared.policy.model import Policy

WAITS = (Template.SLA_WARNING, Template.SLA_DIGEST, Template.FOLLOW_UP)
"""The texts that keep the notify hours; breaches go out at once, and safety never waits."""


@dataclass(frozen=True, slots=True)
class Hours:
    """The office's calendar, and the same with the notify hours."""

    office: Calendar
    notify: Calendar

    @classmethod
    def of(cls, policy: Policy) -> Self:
        """
        Raises:
            CalendarRefused: one of them contradicts itself.
        """
        return cls(load_calendar(policy.clocks.calendar), load_calendar(policy.notify_calendar))

    def opening(self, template: Template, now: datetime) -> datetime:
        """The earliest instant from now on at which a text may go out (T6)."""
        return self.notify.next_open(now) if template in WAITS else now

    def after_business_days(self, instant: datetime, days: int) -> datetime:
        return self.office.add(instant, days * self.office.nominal_day)
