"""What happens without a message: pages, thresholds, leases. When something is due next is a row, never in memory (S4)."""

from datetime import timedelta

import structlog
from prometheus_client import Counter

from safety_bridge import handlers
from safety_bridge.store import SafetyUnit
from shared.messaging.unit_of_work import UnitsOfWork

PAGES_AT_ONCE = 100
LOOK_AGAIN_AFTER = timedelta(seconds=30)
"""When an incident is looked at again whose page failed; the others do not wait for it."""

FAILED = Counter(
    "support_safety_pages_failed_total", "Looks at an incident that failed and were put off; each is a bug."
)

log = structlog.get_logger()


async def page_who_is_due(units: UnitsOfWork[SafetyUnit]) -> bool:
    """Do what is due: pages, thresholds of clocks, leases that have run out. Answers whether there may be more.

    Replicas share the incidents by row locks.
    """
    async with units.begin() as unit:
        due = await unit.incidents.load_due(unit.connection, now=unit.now, limit=PAGES_AT_ONCE)
        for incident in due:
            emitted = len(unit.emitted)
            try:
                handlers.look(incident, unit)
            except Exception as error:
                log.error("look failed", incident_ref=incident.ref, error=type(error).__name__)
                FAILED.inc()
                del unit.emitted[emitted:]
                unit.incidents.put_off(incident, unit.now + LOOK_AGAIN_AFTER)
    return len(due) == PAGES_AT_ONCE
