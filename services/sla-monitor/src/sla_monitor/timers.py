"""What happens without a message: thresholds, due times, and tickets that nobody has routed (L10, L16).

The time of the next look is a row, never in memory: after a downtime everything overdue is found, with its true time.
"""

from collections.abc import Sequence
from datetime import timedelta

import structlog
from prometheus_client import Counter, Histogram

from shared.messaging.unit_of_work import UnitsOfWork
from sla_monitor.domain.clock import Turn
from sla_monitor.domain.notices import Notice
from sla_monitor.handlers import settle
from sla_monitor.store import SlaUnit

LOOKS_AT_ONCE = 500
LOOK_AGAIN_AFTER = timedelta(minutes=1)
"""When a ticket is looked at again whose look failed; the others do not wait for it."""

LATENESS = Histogram(
    "support_sla_deadline_lateness_seconds",
    "Time from a threshold or due time to its event.",
    buckets=(0.1, 0.25, 0.5, 1, 2, 5, 10, 60, 300, 1800, 7200),
)
FAILED = Counter("support_sla_looks_failed_total", "Looks at a ticket that failed and were put off; each is a bug.")

log = structlog.get_logger()


async def look_at_what_is_due(units: UnitsOfWork[SlaUnit]) -> bool:
    """Tell what time alone has changed. Answers whether there may be more; replicas share the work by row locks."""
    async with units.begin() as unit:
        due = await unit.claim(LOOKS_AT_ONCE)
        for ticket in due:
            told = len(unit.emitted)
            try:
                notices = settle(ticket, unit)
            except Exception as error:
                log.error("look failed", ticket_id=ticket.ticket_id, error=type(error).__name__)
                FAILED.inc()
                del unit.emitted[told:]
                unit.tickets.put_off(ticket, look_at=unit.now + LOOK_AGAIN_AFTER)
            else:
                _observe(notices, unit)
    return len(due) == LOOKS_AT_ONCE


def _observe(notices: Sequence[Notice], unit: SlaUnit) -> None:
    for notice in notices:
        if notice.turn in (Turn.WARNING, Turn.BREACHED):
            LATENESS.observe((unit.now - notice.at).total_seconds())
