"""The HTTP edge: tickets as they are routed, and every decision about them. Ids and codes only, never a customer's words."""

import base64
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, TypeAdapter

from router.domain.ticket import Ticket
from router.store import RoutedTickets
from shared.events.envelope import Identifier, Instant
from shared.runtime.http import Problem, require
from shared.runtime.settings import Scope
from shared.vocabulary import Category, Criterion, Level, Origin, Subcategory, Team, Tier

PAGE = 100
_TOKEN: TypeAdapter[tuple[Identifier, Team | None, int | None]] = TypeAdapter(
    tuple[Identifier, Team | None, int | None]
)


class CriterionView(BaseModel):
    """Why the ticket rose, and where that came from (E6)."""

    criterion: Criterion
    origin: Origin


class TicketView(BaseModel):
    """A ticket and the decision in force (R8)."""

    ticket_id: str
    decision_id: str
    category: Category | None
    subcategory: Subcategory | None
    team: Team
    level: Level
    owning_team: Team
    also_notified: tuple[Team, ...]
    needs_triage: bool
    restricted: bool
    confidence: float
    criteria: tuple[CriterionView, ...]
    clauses: tuple[str, ...]
    tier: Tier
    created_at: Instant
    resolved_at: Instant | None
    closed_at: Instant | None


class TicketPage(BaseModel):
    """Some tickets by id; with `next_page_token` the same question goes on, null on the last page."""

    tickets: list[TicketView]
    next_page_token: str | None


class History(BaseModel):
    """The decisions about a ticket, oldest first: `type` and data of the events that announced them."""

    ticket_id: str
    decisions: list[dict[str, Any]]


def ticket_routes(routed: RoutedTickets) -> APIRouter:
    """`GET /v1/tickets`, `GET /v1/tickets/{id}`, `GET /v1/tickets/{id}/decisions`."""
    router = APIRouter(prefix="/v1/tickets", tags=["tickets"], dependencies=[Depends(require(Scope.TICKETS_READ))])

    @router.get("")
    async def list_tickets(
        team: Team | None = None,
        level: Annotated[int | None, Query(ge=0, le=3)] = None,
        page_token: Annotated[str | None, Query(max_length=1000)] = None,
    ) -> TicketPage:
        """Tickets by id, those of a team or a level if asked for."""
        after = _read_token(page_token, team, level) if page_token is not None else ""
        found = await routed.page(
            team=team, level=Level(level) if level is not None else None, after=after, limit=PAGE + 1
        )
        shown = found[:PAGE]
        token = _write_token(shown[-1].ticket_id, team, level) if len(found) > PAGE else None
        return TicketPage(tickets=[_view(ticket) for ticket in shown], next_page_token=token)

    @router.get("/{ticket_id}")
    async def show_ticket(ticket_id: Identifier) -> TicketView:
        """The ticket as it is routed now."""
        ticket = await routed.find(ticket_id)
        if ticket is None:
            raise Problem(404)
        return _view(ticket)

    @router.get("/{ticket_id}/decisions")
    async def list_decisions(ticket_id: Identifier) -> History:
        """Every decision about the ticket."""
        decisions = await routed.history(ticket_id)
        if not decisions:
            raise Problem(404)
        return History(ticket_id=ticket_id, decisions=decisions)

    return router


def _view(ticket: Ticket) -> TicketView:
    decision = ticket.in_force
    placement = decision.placement
    return TicketView(
        ticket_id=ticket.ticket_id,
        decision_id=decision.id,
        category=placement.category,
        subcategory=placement.subcategory,
        team=placement.team,
        level=placement.level,
        owning_team=placement.owning_team,
        also_notified=placement.also_notified,
        needs_triage=placement.category is None,
        restricted=placement.restricted,
        confidence=ticket.classification.confidence,
        criteria=tuple(CriterionView(criterion=met.criterion, origin=met.origin) for met in ticket.criteria),
        clauses=placement.clauses,
        tier=ticket.tier,
        created_at=ticket.created_at,
        resolved_at=ticket.resolved_at,
        closed_at=ticket.closed_at,
    )


def _write_token(last: str, team: Team | None, level: int | None) -> str:
    return base64.urlsafe_b64encode(_TOKEN.dump_json((last, team, level))).decode()


def _read_token(token: str, team: Team | None, level: int | None) -> str:
    """The id behind which the page begins.

    Raises:
        Problem: 422, when the token is none of ours or belongs to another question.
    """
    try:
        last, *question = _TOKEN.validate_json(base64.urlsafe_b64decode(token))
    except ValueError:
        question = []
    if question != [team, level]:
        raise Problem(422, errors=[{"pointer": "/page_token", "detail": "not a token of this question"}])
    return last
