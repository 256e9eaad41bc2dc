"""Who of a team takes which ticket (R1)? As far as the policy names members; without any, tickets go to the team.

The least loaded of those at work takes the ticket that is due first. Only tickets whose clock runs count: what waits for the
customer is no load (HD-58).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from shared.policy.model import WEEKDAYS, Member, Window, WorkingHours
from shared.vocabulary import TicketId


@dataclass(frozen=True, slots=True)
class Waiting:
    """A ticket without somebody, and when it is due first; None while it has no running clock."""

    ticket_id: TicketId
    due_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Assignment:
    """Who takes a ticket now."""

    ticket_id: TicketId
    member: str


def assign(
    waiting: Iterable[Waiting], members: Sequence[Member], loads: Mapping[str, int], now: datetime
) -> list[Assignment]:
    """As many of the waiting tickets as there is room for: the earliest due first, each to the least loaded (HD-58, HD-59).

    Of two equally loaded the one with more room left takes it, then the one whom the policy names first.
    """
    present = [member for member in members if is_at_work(member, now)]
    carried = {member.id: loads.get(member.id, 0) for member in present}
    room = {member.id: member.capacity - carried[member.id] for member in present}
    found: list[Assignment] = []
    for ticket in sorted(waiting, key=_urgency):
        free = [member for member in present if room[member.id] > 0]
        if not free:
            break
        taker = min(free, key=lambda member: (carried[member.id], -room[member.id]))
        carried[taker.id] += 1
        room[taker.id] -= 1
        found.append(Assignment(ticket.ticket_id, taker.id))
    return found


def has_room(members: Iterable[Member], loads: Mapping[str, int], now: datetime) -> bool:
    """Whether anybody could take one more."""
    return any(loads.get(member.id, 0) < member.capacity and is_at_work(member, now) for member in members)


def is_at_work(member: Member, now: datetime) -> bool:
    """Whether a member is there at `now`, by the hours of the member's own zone; windows may run over midnight."""
    if member.works is None:
        return True
    local = now.astimezone(ZoneInfo(member.works.zone))
    return any(
        _holds(window, local, day) for day in (0, 1) for window in _windows(member.works, local - timedelta(days=day))
    )


def _windows(works: WorkingHours, local: datetime) -> tuple[Window, ...]:
    return works.opening_hours.get(WEEKDAYS[local.weekday()], ())


def _holds(window: Window, local: datetime, days_ago: int) -> bool:
    """Whether a window that began so many days ago holds now; half-open, as all hours (L3)."""
    time = local.time().replace(tzinfo=None)
    over_midnight = window.closes <= window.opens
    if days_ago:
        return over_midnight and time < window.closes
    return window.opens <= time and (over_midnight or time < window.closes)


def _urgency(ticket: Waiting) -> tuple[bool, datetime, datetime, TicketId]:
    return ticket.due_at is None, ticket.due_at or ticket.created_at, ticket.created_at, ticket.ticket_id
