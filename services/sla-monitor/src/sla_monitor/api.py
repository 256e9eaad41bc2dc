"""The HTTP edge: the clocks of a ticket as they stand now."""

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from shared.events.envelope import Identifier
from shared.events.sla import SlaEvent
from shared.runtime.http import Problem, require
from shared.runtime.now import Now
from shared.runtime.settings import Scope
from sla_monitor.handlers import clock_event
from sla_monitor.store import ClockedTickets


class Clocks(BaseModel):
    """Every clock of a ticket, in every cycle, with the fields of its events (L15)."""

    ticket_id: str
    clocks: list[SlaEvent]


def clock_routes(tickets: ClockedTickets, now: Now) -> APIRouter:
    """`GET /v1/tickets/{id}/clocks`."""
    router = APIRouter(prefix="/v1/tickets", tags=["clocks"], dependencies=[Depends(require(Scope.TICKETS_READ))])

    @router.get("/{ticket_id}/clocks")
    async def show_clocks(ticket_id: Identifier) -> Clocks:
        """The clocks as they stand now; none for a ticket that is not routed yet or is restricted (L6, L16)."""
        ticket = await tickets.find(ticket_id)
        if ticket is None:
            raise Problem(404)
        at = now()
        clocks = [
            clock_event(SlaEvent, ticket, change, measured_at=change.clock.ended_at or at, emitted_at=at)
            for change in ticket.clocks(at, tickets.book)
        ]
        return Clocks(ticket_id=ticket.ticket_id, clocks=clocks)

    return router
