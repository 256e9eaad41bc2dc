"""The HTTP edge: the clocks of a ticket, why they are due when they are, and what other rules would do to all of them."""

from typing import Any, Self

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared.events.envelope import Identifier, Instant
from shared.events.sla import SlaEvent, TargetData
from shared.policy.draft import UnreadableDraft
from shared.runtime.http import Problem, pointer, require
from shared.runtime.now import Now
from shared.runtime.settings import Scope
from shared.vocabulary import ClockState, Level, Milestone
from sla_monitor.domain.clock import FactKind, Turn
from sla_monitor.domain.explanation import Explanation, Move, Stretch, StretchKind, explain
from sla_monitor.domain.what_if import COUNTS
from sla_monitor.handlers import clock_event
from sla_monitor.handlers.what_if import Outcome, WhatIf
from sla_monitor.store import ClockedTickets


class Clocks(BaseModel):
    """Every clock of a ticket, in every cycle, with the fields of its events (L15)."""

    ticket_id: str
    clocks: list[SlaEvent]


class ShownStretch(BaseModel):
    """A stretch of time that counts whole or not at all; of a pause, the ids of the events that began and ended it."""

    starts_at: Instant
    ends_at: Instant
    counted: bool
    kind: StretchKind
    name: str | None
    begun_by: str | None
    ended_by: str | None
    seconds: float

    @classmethod
    def of(cls, stretch: Stretch) -> Self:
        return cls(
            starts_at=stretch.starts_at,
            ends_at=stretch.ends_at,
            counted=stretch.counts,
            kind=stretch.kind,
            name=stretch.name,
            begun_by=stretch.begun_by.id if stretch.begun_by else None,
            ended_by=stretch.ended_by.id if stretch.ended_by else None,
            seconds=stretch.length.total_seconds(),
        )


class ShownMove(BaseModel):
    """The due time moved, because of an event, which is `fact` to the clocks."""

    turn: Turn
    at: Instant
    from_: Instant = Field(serialization_alias="from")
    to: Instant
    clause: str | None
    because: str | None
    fact: FactKind | None

    @classmethod
    def of(cls, move: Move) -> Self:
        return cls(
            turn=move.turn,
            at=move.at,
            from_=move.was_due_at,
            to=move.due_at,
            clause=move.clause,
            because=move.because.id if move.because else None,
            fact=move.because.kind if move.because else None,
        )


class ExplainedClock(BaseModel):
    """`counted_seconds` is the sum of what counts; up to a due time that stands it is `length_seconds` (L15)."""

    milestone: Milestone
    cycle: int
    level: Level | None
    target: TargetData
    in_business_time: bool
    clauses: tuple[str, ...]
    started_at: Instant
    due_at: Instant
    ended_at: Instant | None
    state: ClockState
    reason: str | None
    policy_version: str
    calendar: str
    zone: str
    length_seconds: float
    counted_seconds: float
    stretches: list[ShownStretch]
    moves: list[ShownMove]

    @classmethod
    def of(cls, explanation: Explanation) -> Self:
        clock = explanation.clock
        promise, calendar = clock.promise, clock.rules.calendar
        return cls(
            milestone=promise.milestone,
            cycle=clock.cycle,
            level=clock.level,
            target=TargetData(amount=promise.target.amount, unit=promise.target.unit),
            in_business_time=promise.in_business_time,
            clauses=explanation.clauses,
            started_at=clock.started_at,
            due_at=clock.due_at,
            ended_at=clock.ended_at,
            state=clock.state,
            reason=clock.reason,
            policy_version=clock.rules.policy_version,
            calendar=calendar.name,
            zone=calendar.zone,
            length_seconds=promise.length.total_seconds(),
            counted_seconds=explanation.counted.total_seconds(),
            stretches=[*map(ShownStretch.of, explanation.stretches)],
            moves=[*map(ShownMove.of, explanation.moves)],
        )


class ExplainedClocks(BaseModel):
    """Why each clock of a ticket is due when it is, in every cycle."""

    ticket_id: str
    clocks: list[ExplainedClock]


class Draft(BaseModel):
    """Changes to the policy in force, in its own shape: only what is named changes. Or a whole policy in its place."""

    model_config = ConfigDict(extra="forbid")

    changes: dict[str, Any] | None = None
    policy: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.changes is None) is (self.policy is None):
            raise ValueError("either changes or a policy")
        return self


class Retarget(BaseModel):
    """Brings the open clocks to the policy in force, or only tells what that would do (L11)."""

    model_config = ConfigDict(extra="forbid")

    policy_version: str | None = Field(default=None, max_length=200)
    """If given, that policy has to be in force."""
    dry_run: bool = False


class EffectView(BaseModel):
    """What becomes of one clock: `from` is null where it starts, `to` where it ends."""

    model_config = ConfigDict(serialize_by_alias=True)

    ticket_id: str
    milestone: Milestone
    cycle: int
    turn: Turn
    was_due_at: Instant | None = Field(serialization_alias="from")
    due_at: Instant | None = Field(serialization_alias="to")


class OutcomeView(BaseModel):
    """What rules do to the open tickets; the numbers count all, `changes` are the first by ticket id."""

    policy_version: str
    calendar: str
    at: Instant
    dry_run: bool
    tickets: int
    retargeted: int
    clocks: int
    moved: int
    restated: int
    started: int
    cancelled: int
    unchanged: int
    breached_at_once: int
    failed: int
    changes: list[EffectView]


def clock_routes(tickets: ClockedTickets, now: Now) -> APIRouter:
    """`GET /v1/tickets/{id}/clocks` and `…/clocks/explain`."""
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

    @router.get("/{ticket_id}/clocks/explain")
    async def explain_clocks(ticket_id: Identifier) -> ExplainedClocks:
        """Every stretch that counts or does not, and what moved each due time (L15); none for a restricted ticket (L6)."""
        ticket = await tickets.find(ticket_id)
        if ticket is None:
            raise Problem(404)
        at = now()
        found = explain(ticket.changes(at, tickets.book), at)
        return ExplainedClocks(ticket_id=ticket.ticket_id, clocks=[*map(ExplainedClock.of, found)])

    return router


def what_if_routes(what_if: WhatIf) -> APIRouter:
    """`POST /v1/drafts`, which changes nothing, and `POST /v1/retargets`."""
    router = APIRouter(prefix="/v1", tags=["what-if"], dependencies=[Depends(require(Scope.OPERATE))])

    @router.post("/drafts")
    async def try_draft(draft: Draft) -> OutcomeView:
        """Which due times of open tickets would move if this policy were in force and they were retargeted."""
        document, place = (draft.changes, "/changes") if draft.policy is None else (draft.policy, "/policy")
        try:
            outcome = await what_if.try_draft(document or {}, is_whole=draft.policy is not None)
        except UnreadableDraft as invalid:
            faults = [{"pointer": place + pointer(where), "detail": kind} for where, kind in invalid.faults]
            raise Problem(422, errors=faults) from None
        return _view(outcome, dry_run=True)

    @router.post("/retargets")
    async def retarget(asked: Retarget) -> OutcomeView:
        """Bring the open tickets to the policy in force; asked again it does what is left."""
        work = what_if.try_retarget if asked.dry_run else what_if.retarget
        return _view(await work(asked.policy_version), dry_run=asked.dry_run)

    return router


def _view(outcome: Outcome, *, dry_run: bool) -> OutcomeView:
    effects = outcome.effects
    policy_version, calendar = outcome.rules
    return OutcomeView(
        policy_version=policy_version,
        calendar=calendar,
        at=outcome.at,
        dry_run=dry_run,
        **{name: getattr(effects, name) for name in COUNTS},
        changes=[EffectView(**effect._asdict()) for effect in effects.listed],
    )
