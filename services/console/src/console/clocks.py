"""Why a ticket's clocks are due when they are, in the local time of their calendar (L15)."""

from collections.abc import Iterator
from datetime import datetime, time, timedelta
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from console.services import Services
from console.settings import Installation

SLA_MONITOR = "sla-monitor"
_MIDNIGHT = time()


class Clocks:
    """Asks the sla-monitor; `tickets:read` is the scope it needs."""

    def __init__(self, installation: Installation) -> None:
        self._services = Services(installation)

    def explain(self, ticket_id: str) -> Iterator[str]:
        """Each clock: what was promised, every stretch of time that counts or does not, and what moved the due time."""
        found = self._services.ask("GET", SLA_MONITOR, f"/v1/tickets/{quote(ticket_id, safe='')}/clocks/explain")
        if not found["clocks"]:
            yield "no clocks"
        for clock in found["clocks"]:
            yield from _clock(clock)


def _clock(clock: dict[str, Any]) -> Iterator[str]:
    zone = ZoneInfo(clock["zone"])
    target = f"{clock['target']['amount']} {clock['target']['unit']}"
    ended = f", ended {_instant(clock['ended_at'], zone)}" if clock["ended_at"] else ""
    reason = f" ({clock['reason']})" if clock["reason"] else ""
    yield f"{clock['milestone']} {clock['cycle']}: {target}, by {', '.join(clock['clauses'])}"
    yield f"  {clock['state']}{reason}, due {_instant(clock['due_at'], zone)}{ended}"
    yield f"  policy {clock['policy_version']}, calendar {clock['calendar']}, times of {clock['zone']}"
    for stretch in clock["stretches"]:
        span = _span(*(_local(stretch[end], zone) for end in ("starts_at", "ends_at")))
        told = [stretch["kind"], stretch["name"], *_causes(stretch)]
        yield f"  {span:43} {_length(stretch['seconds']):>10}  {' '.join(filter(None, told))}"
    yield f"  {'counted':43} {_length(clock['counted_seconds']):>10}  of {_length(clock['length_seconds'])}"
    for move in clock["moves"]:
        moved = f"{_instant(move['from'], zone)} -> {_instant(move['to'], zone)}"
        why = ", ".join(filter(None, (move["clause"], move["fact"], move["because"])))
        yield f"  {_instant(move['at'], zone)} {move['turn']}: due {moved}, by {why}"


def _causes(stretch: dict[str, Any]) -> Iterator[str]:
    if stretch["begun_by"]:
        yield f"by {stretch['begun_by']}"
    if stretch["ended_by"]:
        yield f"until {stretch['ended_by']}"


def _span(starts: datetime, ends: datetime) -> str:
    """Whole days by their dates, anything else with its hours."""
    if starts.time() == ends.time() == _MIDNIGHT:
        last = ends - timedelta(days=1)
        return _day(starts) if last.date() <= starts.date() else f"{_day(starts)} - {_day(last)}"
    until = _hour(ends) if starts.date() == ends.date() else _moment(ends)
    return f"{_moment(starts)} - {until}"


def _instant(at: str, zone: ZoneInfo) -> str:
    return _moment(_local(at, zone))


def _local(at: str, zone: ZoneInfo) -> datetime:
    return datetime.fromisoformat(at).astimezone(zone)


def _moment(at: datetime) -> str:
    return f"{_day(at)} {_hour(at)}"


def _day(at: datetime) -> str:
    return f"{at:%a %Y-%m-%d}"


def _hour(at: datetime) -> str:
    """With seconds and their parts only where there are any."""
    return at.time().isoformat("auto" if at.second or at.microsecond else "minutes")


def _length(seconds: float) -> str:
    """Hours, minutes, seconds, and their parts only where there are any."""
    whole, micros = divmod(round(seconds * 1_000_000), 1_000_000)
    parts = f".{micros:06}" if micros else ""
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}{parts}"
