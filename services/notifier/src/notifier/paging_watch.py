"""Whether pages reach people: told when that changes, and shown to an outside watcher while they do."""

from datetime import timedelta

from prometheus_client import Gauge

from notifier import watch
from notifier.handlers import on_paging_degraded, on_paging_restored
from notifier.store import NotifierUnit
from shared.messaging.unit_of_work import UnitsOfWork
from shared.runtime.beat import Beat

DEGRADED_AFTER = timedelta(seconds=15)
"""How long pages of an incident may reach nobody before that is told and no beat goes out any more."""
REPEATED_WITHIN = timedelta(minutes=16)
"""By when an incident that nobody has acknowledged is paged again, but for the lanes that may wait longer: what was refused for
good is counted for so long."""

DEGRADED = Gauge("support_paging_degraded", "1 while pages are tried and reach nobody.")


class PagingWatch:
    """Whether pages reach people; an outside watcher gets a beat only while they do, and its silence is the alarm (SN-14).

    An incident whose pages have reached nobody for a while is an outage, whatever else goes out. It is remembered in a row, so
    that replicas and restarts tell of it once.
    """

    def __init__(self, units: UnitsOfWork[NotifierUnit], beat: Beat) -> None:
        self._units = units
        self._beat = beat
        self._doubt: str | None = "not looked yet"

    def doubt(self) -> str | None:
        """Why no beat goes out, or None."""
        return self._doubt

    async def look(self) -> bool:
        """Look whether pages reach people, tell when that changes, and send a beat if it is time for one."""
        async with self._units.begin() as unit:
            since = await watch.untold_since(unit.connection, failed_since=unit.now - REPEATED_WITHIN)
            is_degraded = since is not None and unit.now - since >= DEGRADED_AFTER
            if since is not None and is_degraded:
                if await watch.outage_begins(unit.connection, since, unit.now):
                    on_paging_degraded(since, unit)
            elif (began := await watch.outage_ends(unit.connection, unit.now)) is not None:
                on_paging_restored(began, unit)
        DEGRADED.set(is_degraded)
        self._doubt = "pages reach nobody" if is_degraded else None
        if self._doubt is None:
            self._doubt = await self._beat.send()
        return False
