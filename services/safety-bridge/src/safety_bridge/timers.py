"""What happens without a message: pages nobody has acknowledged. The time of the next page is a row, never in memory (S4)."""

from safety_bridge import handlers
from safety_bridge.store import SafetyUnit
from shared.messaging.unit_of_work import UnitsOfWork

PAGES_AT_ONCE = 100


async def page_who_is_due(units: UnitsOfWork[SafetyUnit]) -> bool:
    """Ask for the pages that are due. Answers whether there may be more; replicas share them by row locks."""
    async with units.begin() as unit:
        due = await unit.incidents.load_due(unit.connection, now=unit.now, limit=PAGES_AT_ONCE)
        for incident in due:
            handlers.page(incident, unit)
    return len(due) == PAGES_AT_ONCE
