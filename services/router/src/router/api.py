"""The HTTP edge: tickets as they are routed, and every decision about them. Ids and codes only, never a customer's words."""

import base64
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from router.domain.routing import Placement
from router.domain.ticket import Ticket
from router.handlers.workbench import TICKETS_AT_MOST, Workbench
from router.store import RoutedTickets
from shared.events.envelope import Identifier, Instant
from shared.policy.draft import UnreadableDraft
from shared.policy.model import Policy
from shared.runtime.http import Problem, pointer, require
from shared.runtime.now import Now
from shared.runtime.settings import Scope
from shared.vocabulary import Category, Criterion, Level, Origin, Subcategory, Team, Tier

PAGE = 100
_TOKEN: TypeAdapter[tuple[Identifier, str | None, int | None]] = TypeAdapter(tuple[Identifier, str | None, int | None])


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
    undo_to: Level | None
    """The level to which a person may lower it, because the breach that raised it was withdrawn (HD-65)."""
    related: tuple[str, ...]
    assignee: str | None
    watchers: tuple[str, ...]
    clauses: tuple[str, ...]
    tier: Tier
    created_at: Instant
    resolved_at: Instant | None
    closed_at: Instant | None


class TicketPage(BaseModel):
    """Some tickets by id; with `next_page_token` the same question goes on, null on the last page."""

    tickets: list[TicketView]
    next_page_token: str | None


class Explained(BaseModel):
    """A decision and the words that led to it; null where no words did."""

    decision: dict[str, Any]
    explanation: dict[str, Any] | None


class Explanations(BaseModel):
    """The decisions about a ticket with the words behind them, oldest first; `undo_to` as of the ticket."""

    ticket_id: str
    undo_to: Level | None
    decisions: list[Explained]


class Recomputation(BaseModel):
    """A ticket decided again from the log under the policies it was decided by; `differences` are `<number>.<field>`."""

    ticket_id: str
    same: bool
    decisions: int
    differences: tuple[str, ...]
    policy_versions: tuple[str, ...]
    classifier_versions: tuple[str, ...]
    classifier_here: str


class Draft(BaseModel):
    """Changes to the policy in force, in its own shape: only what is named changes."""

    model_config = ConfigDict(extra="forbid")

    changes: dict[str, Any]
    last: int = Field(default=1000, ge=1, le=TICKETS_AT_MOST)


class PlacementView(BaseModel):
    category: Category | None
    subcategory: Subcategory | None
    team: Team
    level: Level
    clauses: tuple[str, ...]


class MovedView(BaseModel):
    """A ticket that would stand elsewhere."""

    ticket_id: str
    was: PlacementView
    now: PlacementView


class TrialView(BaseModel):
    """What a draft would change for the latest tickets; nothing was changed."""

    policy_version: str
    tickets: int
    changed: int
    by_team: dict[str, int]
    moved: list[MovedView]


class Correction(BaseModel):
    """How often people corrected a category to another, and how sure the classifier had been on average."""

    classifier_version: str
    was_category: Category | None
    category: Category | None
    corrections: int
    confidence: float


class Corrections(BaseModel):
    """What people corrected in the last days."""

    days: int
    corrections: list[Correction]


class History(BaseModel):
    """The decisions about a ticket, oldest first: `type` and data of the events that announced them."""

    ticket_id: str
    decisions: list[dict[str, Any]]


def ticket_routes(routed: RoutedTickets, policy: Policy) -> APIRouter:
    """`GET /v1/tickets`, `GET /v1/tickets/{id}`, and of each `/decisions` and `/explain`."""
    router = APIRouter(prefix="/v1/tickets", tags=["tickets"], dependencies=[Depends(require(Scope.TICKETS_READ))])

    @router.get("")
    async def list_tickets(
        team: Annotated[str | None, Query(max_length=64)] = None,
        level: Annotated[int | None, Query(ge=0, le=3)] = None,
        page_token: Annotated[str | None, Query(max_length=1000)] = None,
    ) -> TicketPage:
        """Tickets by id, those of a team or a level if asked for."""
        if team is not None and team not in policy.teams:
            raise Problem(422, errors=[{"pointer": "/team", "detail": "must be a team of the policy"}])
        after = _read_token(page_token, team, level) if page_token is not None else ""
        found = await routed.page(
            team=Team(team) if team is not None else None,
            level=Level(level) if level is not None else None,
            after=after,
            limit=PAGE + 1,
        )
        shown = found[:PAGE]
        token = _write_token(shown[-1].ticket_id, team, level) if len(found) > PAGE else None
        return TicketPage(tickets=[_view(ticket, policy) for ticket in shown], next_page_token=token)

    @router.get("/{ticket_id}")
    async def show_ticket(ticket_id: Identifier) -> TicketView:
        """The ticket as it is routed now."""
        ticket = await routed.find(ticket_id)
        if ticket is None:
            raise Problem(404)
        return _view(ticket, policy)

    @router.get("/{ticket_id}/decisions")
    async def list_decisions(ticket_id: Identifier) -> History:
        """Every decision about the ticket."""
        decisions = await routed.history(ticket_id)
        if not decisions:
            raise Problem(404)
        return History(ticket_id=ticket_id, decisions=decisions)

    @router.get("/{ticket_id}/explain", dependencies=[Depends(require(Scope.EXPLAIN))])
    async def explain_decisions(ticket_id: Identifier) -> Explanations:
        """Every decision with the words behind it: those of a customer, so with a scope of its own (S5)."""
        decisions, ticket = await routed.explanations(ticket_id), await routed.find(ticket_id)
        if not decisions or ticket is None:
            raise Problem(404)
        return Explanations(
            ticket_id=ticket_id,
            undo_to=ticket.undo(policy),
            decisions=[Explained.model_validate(one) for one in decisions],
        )

    return router


def workbench_routes(workbench: Workbench, routed: RoutedTickets, *, classifier_version: str, now: Now) -> APIRouter:
    """`POST /v1/tickets/{id}/recompute`, `POST /v1/drafts`, `GET /v1/corrections`: nothing of it changes anything."""
    router = APIRouter(prefix="/v1", tags=["workbench"], dependencies=[Depends(require(Scope.OPERATE))])

    @router.post("/tickets/{ticket_id}/recompute")
    async def recompute(ticket_id: Identifier) -> Recomputation:
        """Decide a ticket again from the log, and say where the result differs from what was recorded."""
        found = await workbench.recompute(ticket_id)
        return Recomputation(
            ticket_id=ticket_id,
            same=not found.differences,
            decisions=found.decisions,
            differences=found.differences,
            policy_versions=found.policy_versions,
            classifier_versions=found.classifier_versions,
            classifier_here=classifier_version,
        )

    @router.post("/drafts")
    async def try_draft(draft: Draft) -> TrialView:
        """Which of the latest tickets would stand elsewhere if the policy were changed so."""
        try:
            trial = await workbench.try_draft(draft.changes, draft.last)
        except UnreadableDraft as invalid:
            faults = [{"pointer": "/changes" + pointer(place), "detail": kind} for place, kind in invalid.faults]
            raise Problem(422, errors=faults) from None
        moved = [MovedView(ticket_id=one.ticket_id, was=_place(one.was), now=_place(one.now)) for one in trial.moved]
        return TrialView(
            policy_version=trial.policy_version,
            tickets=trial.tickets,
            changed=len(moved),
            by_team=trial.by_team,
            moved=moved,
        )

    @router.get("/corrections")
    async def list_corrections(days: Annotated[int, Query(ge=1, le=366)] = 30) -> Corrections:
        """What people corrected: where the classifier was wrong, by version and category."""
        found = await routed.corrections(now() - timedelta(days=days))
        return Corrections(days=days, corrections=[Correction.model_validate(one) for one in found])

    return router


def _place(placement: Placement) -> PlacementView:
    return PlacementView(
        category=placement.category,
        subcategory=placement.subcategory,
        team=placement.team,
        level=placement.level,
        clauses=placement.clauses,
    )


def _view(ticket: Ticket, policy: Policy) -> TicketView:
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
        undo_to=ticket.undo(policy),
        related=ticket.related,
        assignee=ticket.assignee,
        watchers=ticket.watchers,
        clauses=placement.clauses,
        tier=ticket.tier,
        created_at=ticket.created_at,
        resolved_at=ticket.resolved_at,
        closed_at=ticket.closed_at,
    )


def _write_token(last: str, team: str | None, level: int | None) -> str:
    return base64.urlsafe_b64encode(_TOKEN.dump_json((last, team, level))).decode()


def _read_token(token: str, team: str | None, level: int | None) -> str:
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
