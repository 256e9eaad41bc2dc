"""The HTTP edge: incidents as they stand, and what a person may do about them. A GET changes nothing (S4)."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self, TypedDict

import orjson
from fastapi import APIRouter, Depends, Header
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from safety_bridge import commands, handlers, store
from safety_bridge.audit import NO_PERSON
from safety_bridge.domain import approvals, deadlines
from safety_bridge.domain.clock import Clock, Promise
from safety_bridge.domain.explanation import Rule, explain
from safety_bridge.domain.identity import Mode, fit_id
from safety_bridge.domain.incident import Actor, Incident, Proposal
from safety_bridge.domain.retention import Reason
from safety_bridge.domain.tracks import GuardianTrack
from safety_bridge.store import SafetyUnit
from safety_bridge.vault import Kind
from shared.duty import PersonId
from shared.errors import Refusal
from shared.events.envelope import Identifier, Instant
from shared.events.safety import Tracks
from shared.messaging.unit_of_work import UnitsOfWork
from shared.policy.model import CodeWord, Policy, Relaxation
from shared.runtime.http import Problem, require
from shared.runtime.settings import ApiKey, Scope
from shared.vocabulary import IncidentClass, Response, Severity, TicketId

Role = Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,40}$")]
SeverityWord = Literal["low", "medium", "high", "critical"]
ACKNOWLEDGED_AT_ONCE = 500


class ActorDocument(BaseModel):
    """The person who acts, and in which role."""

    id: Identifier
    role: Role

    def actor(self) -> Actor:
        return Actor(self.id, self.role)


class ReadReason(StrEnum):
    """Why somebody looks at an incident. A closed list: what is written down for good must hold nobody's words (S5)."""

    ON_CALL = "on_call"
    COORDINATION = "coordination"
    REPORT = "report"
    REVIEW = "review"
    AUDIT = "audit"
    LEGAL_REQUEST = "legal_request"
    NOT_STATED = "not_stated"


ReadingKey = Annotated[ApiKey, Depends(require(Scope.INCIDENTS_READ))]


def reader(
    key: ReadingKey,
    x_actor_id: Annotated[PersonId | None, Header()] = None,
    x_actor_role: Annotated[Role, Header()] = NO_PERSON,
    x_reason: Annotated[ReadReason, Header()] = ReadReason.NOT_STATED,
) -> handlers.Reader:
    """Who reads, in which role and why; a program that does not say is written down by the name of its key (S5)."""
    return handlers.Reader(x_actor_id or f"key {key.name}", x_actor_role, x_reason)


def person(
    x_actor_id: Annotated[PersonId, Header()],
    x_actor_role: Annotated[Role, Header()],
    x_reason: Annotated[ReadReason, Header()],
) -> handlers.Reader:
    """Who reads what is protected has to say so, and why (S5)."""
    return handlers.Reader(x_actor_id, x_actor_role, x_reason)


ByReader = Annotated[handlers.Reader, Depends(reader)]


class Command(BaseModel):
    """What every command says: who acts, and which epoch of the incident they have read."""

    model_config = ConfigDict(validate_by_name=True)

    epoch: int
    actor: ActorDocument


class Note(BaseModel):
    """What a person wants the others to know."""

    actor: ActorDocument
    text: Annotated[str, StringConstraints(min_length=1, max_length=20_000)]


class Erasure(BaseModel):
    """Who brings a request for erasure; the request itself stays where it came in."""

    actor: ActorDocument


class LegalHold(BaseModel):
    actor: ActorDocument
    hold: bool


class Raise(Command):
    """To which severity, or by which class or response."""

    severity: SeverityWord | None = None
    incident_class: IncidentClass | None = Field(default=None, alias="class")
    response: Response | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(one is not None for one in (self.severity, self.incident_class, self.response)) != 1:
            raise ValueError("either severity, class or response")
        return self


class Progress(Command):
    kind: CodeWord


class Coordinate(Command):
    counterpart: Identifier
    """The id of somebody of the Safety Team."""


class LinkTicket(Command):
    ticket_id: Identifier


class GuardianDecide(Command):
    """`sent` and `confirmed` say what has happened. What is held is released by two, and nobody suppresses alone (S5)."""

    decision: Literal["release", "suppress", "sent", "confirmed"]
    reason: CodeWord | None = None


class ProposeReassessment(Command):
    severity: SeverityWord
    reason: CodeWord


class Decide(Command):
    """`reason` is one of the policy's for this decision."""

    reason: CodeWord


class Close(Command):
    disposition: CodeWord


class Approve(Command):
    """`snapshot` is that of the proposal: the incident as both persons have read it."""

    snapshot: Identifier


class ApproveAny(Approve):
    relaxation: Relaxation


class Reject(Command):
    relaxation: Relaxation


class Listed(BaseModel):
    incident_ref: Identifier
    epoch: int


class AcknowledgeListed(BaseModel):
    """Exactly these incidents in exactly these epochs."""

    actor: ActorDocument
    incidents: Annotated[list[Listed], Field(min_length=1, max_length=ACKNOWLEDGED_AT_ONCE)]


class AcknowledgedOne(BaseModel):
    incident_ref: str
    status: int
    problem: str | None = None


class AcknowledgedList(BaseModel):
    results: list[AcknowledgedOne]


class ClockDocument(BaseModel):
    """One promise; a confirmation is of a hand-off and has no class."""

    clock: str
    incident_class: IncidentClass | None
    started_at: Instant
    due_at: Instant
    state: Literal["running", "met", "breached"]
    met_at: Instant | None


class Deadlines(BaseModel):
    """Until when what has to have happened; `acknowledge_by` is the tightest, None where the classes set nothing."""

    acknowledge_by: Instant | None
    clocks: tuple[ClockDocument, ...]


class Taken(BaseModel):
    """Who has acknowledged which epoch."""

    epoch: int
    role: str
    actor_id: str
    at: Instant


class ProposalDocument(BaseModel):
    """What one person asks for and another may agree to, with this snapshot."""

    relaxation: Relaxation
    reason: str
    severity: str | None
    by: ActorDocument
    at: Instant
    expires_at: Instant
    snapshot: str
    is_pending: bool
    """No longer once it has expired or the incident has changed: then it has to be proposed again."""


class IncidentDocument(BaseModel):
    """An incident as it stands: codes and ids only (S5)."""

    incident_ref: str
    agent_incident_id: str | None
    ticket_id: str | None
    mode: Mode
    epoch: int
    severity_working: str
    severity_peak: str
    classes: tuple[IncidentClass, ...]
    responses: tuple[Response, ...]
    tracks: Tracks
    flags: tuple[str, ...]
    failed_report_attempts: int
    unknown_responses: int
    agent_would_take_back: tuple[str, ...]
    proposals: tuple[ProposalDocument, ...]
    detected_at: Instant
    opened_at: Instant
    deadlines: Deadlines
    roles_missing: tuple[str, ...]
    acknowledgements: tuple[Taken, ...]
    lease_ends_at: Instant | None
    coordinated_with: str | None
    done: tuple[str, ...]
    open_points: tuple[str, ...]
    disposition: str | None
    next_page_at: Instant | None
    next_look_at: Instant | None
    continues_in: str | None


class ExplanationDocument(BaseModel):
    """Why a person was or was not paged in a minute: the rule, and what was told that it follows from."""

    incident_ref: str
    person: str
    at: Instant
    paged: bool
    rule: Rule
    roles: tuple[str, ...]
    """The roles this person held then."""
    because: list[dict[str, Any]]


class IncidentDetail(IncidentDocument):
    """One incident, with the references of others of the same subject or account, the latest first."""

    related: tuple[str, ...]


class Protected(BaseModel):
    """A sealed value, opened: what was known, what was set apart by its place, a note, or a record in base64."""

    id: int
    incident_ref: str
    kind: Kind
    at: Instant
    value: Any


class ProtectedDocument(BaseModel):
    incident_ref: str
    values: list[Protected]


class NoteTaken(BaseModel):
    incident_ref: str


class RetentionDocument(BaseModel):
    """Until when the content is kept at least, and why."""

    incident_ref: str
    restricted_until: Instant
    reason_code: Reason


class IncidentList(BaseModel):
    incidents: list[IncidentDocument]
    unreadable: list[str] = []
    """References of those that this version cannot show; they are looked after all the same."""
    more: bool = False
    """Whether there are others: a list holds 1,000."""


def routes(
    units: UnitsOfWork[SafetyUnit], policy: Policy, roles_of: Callable[[str, datetime], tuple[str, ...]]
) -> APIRouter:
    """The routes of the bridge. `roles_of` answers which roles a person held at an instant."""
    router = APIRouter(prefix="/v1/incidents")
    may_act = [Depends(require(Scope.INCIDENTS_ACT))]

    async def do(
        ref: str, decide: Callable[[Incident, SafetyUnit], Incident | Awaitable[Incident]]
    ) -> IncidentDocument:
        async with units.begin() as unit:
            decided = decide(await _locked(unit, ref), unit)
            after = decided if isinstance(decided, Incident) else await decided
        return _document(after, policy, unit.now)

    @router.get("")
    async def incidents(by: ByReader, agent_incident_id: str = "", ticket_id: str = "") -> IncidentList:
        """The latest incidents; with a filter, those of this agent's id or of this ticket. The audit keeps who looked."""
        if any(wanted and not fit_id(wanted) for wanted in (agent_incident_id, ticket_id)):
            return IncidentList(incidents=[])
        async with units.begin() as unit:
            found = await store.list_incidents(
                unit.connection, agent_incident_id=agent_incident_id or None, ticket_id=ticket_id or None
            )
            is_filtered = bool(agent_incident_id or ticket_id)
            named = [*(one.ref for one in found.incidents), *found.unread]
            handlers.read(named if is_filtered else [handlers.EVERY_INCIDENT], by, unit)
        return IncidentList(
            incidents=[_document(one, policy, units.now()) for one in found.incidents],
            unreadable=list(found.unread),
            more=found.is_cut,
        )

    @router.get("/{ref}")
    async def incident(ref: str, by: ByReader) -> IncidentDetail:
        """One incident; the audit keeps who looked, in which role and why."""
        async with units.begin() as unit:
            found = _known(await store.read_incident(unit.connection, ref) if fit_id(ref) else None)
            related = await store.related_to(unit.connection, found)
            handlers.read([found.ref], by, unit)
        return IncidentDetail(**_document(found, policy, units.now()).model_dump(), related=related)

    @router.post("/acknowledge", dependencies=may_act)
    async def acknowledge_listed(command: AcknowledgeListed) -> AcknowledgedList:
        """Take exactly the incidents listed, each in the epoch that was read; each stands for itself (S4)."""
        return AcknowledgedList(
            results=[await _acknowledge_one(units, command.actor, one) for one in command.incidents]
        )

    @router.get("/{ref}/explain")
    async def explanation(ref: str, person: Identifier, at: Instant, by: ByReader) -> ExplanationDocument:
        """Why this person was or was not paged in the minute that begins at `at`; the audit keeps who asked."""
        async with units.begin() as unit:
            known = _known(await store.read_incident(unit.connection, ref) if fit_id(ref) else None)
            history = await store.read_told(unit.connection, ref)
            handlers.read([known.ref], by, unit)
        roles = roles_of(person, at)
        found = explain(history, person=person, roles=roles, at=at)
        return ExplanationDocument(
            incident_ref=ref,
            person=person,
            at=at,
            paged=found.rule is Rule.PAGED,
            rule=found.rule,
            roles=roles,
            because=[told.shown() for told in found.because],
        )

    @router.post("/{ref}/acknowledge", dependencies=may_act)
    async def acknowledge(ref: str, command: Command) -> IncidentDocument:
        """Take the incident as it stands in this epoch; the last role needed ends paging (S4)."""
        return await do(ref, lambda one, unit: commands.acknowledge(one, unit, **_by(command)))

    @router.post("/{ref}/raise", dependencies=may_act)
    async def raise_(ref: str, command: Raise) -> IncidentDocument:
        """Make the incident more severe, or add a class or a response; nothing lowers it (S1)."""
        return await do(
            ref,
            lambda one, unit: commands.raise_(
                one,
                unit,
                **_by(command),
                severity=_severity(command.severity),
                incident_class=command.incident_class,
                response=command.response,
            ),
        )

    @router.post("/{ref}/progress", dependencies=may_act)
    async def progress(ref: str, command: Progress) -> IncidentDocument:
        """Say what has been done: an item of the checklist, or a kind of progress of the policy (S4)."""
        return await do(ref, lambda one, unit: commands.progress(one, unit, **_by(command), kind=command.kind))

    @router.post("/{ref}/coordinate", dependencies=may_act)
    async def coordinate(ref: str, command: Coordinate) -> IncidentDocument:
        """Say who of the Safety Team works on it too (S4)."""
        return await do(
            ref, lambda one, unit: commands.coordinate(one, unit, **_by(command), counterpart=command.counterpart)
        )

    @router.post("/{ref}/handoff", dependencies=may_act)
    async def hand_off(ref: str, command: Command) -> IncidentDocument:
        """Say that somebody in danger has been handed over to help; it pages until that is confirmed (S3)."""
        return await do(ref, lambda one, unit: commands.hand_off(one, unit, **_by(command)))

    @router.post("/{ref}/confirm_handoff", dependencies=may_act)
    async def confirm_hand_off(ref: str, command: Command) -> IncidentDocument:
        """Say that help has really reached them (S3)."""
        return await do(ref, lambda one, unit: commands.confirm_hand_off(one, unit, **_by(command)))

    @router.post("/{ref}/link_ticket", dependencies=may_act)
    async def link_ticket(ref: str, command: LinkTicket) -> IncidentDocument:
        """Say that a ticket is about this incident (S8)."""
        ticket_id = TicketId(command.ticket_id)
        return await do(ref, lambda one, unit: commands.link_ticket(one, unit, **_by(command), ticket_id=ticket_id))

    @router.post("/{ref}/guardian_decide", dependencies=may_act)
    async def guardian_decide(ref: str, command: GuardianDecide) -> IncidentDocument:
        """Decide about telling a guardian, or propose what takes two (S5)."""
        return await do(ref, lambda one, unit: _decide_about_guardian(one, unit, command))

    @router.post("/{ref}/propose_reassessment", dependencies=may_act)
    async def propose_reassessment(ref: str, command: ProposeReassessment) -> IncidentDocument:
        """Propose that paging should go by a lower severity; the peak stays visible (S1)."""
        return await do(
            ref,
            lambda one, unit: commands.propose(
                one,
                unit,
                Relaxation.LOWER_SEVERITY,
                **_by(command),
                reason=command.reason,
                severity=_severity(command.severity),
            ),
        )

    @router.post("/{ref}/close_report", dependencies=may_act)
    async def close_report(ref: str, command: Decide) -> IncidentDocument:
        """Propose that no report will be made; Legal has to agree (S1)."""
        return await do(
            ref,
            lambda one, unit: commands.propose(
                one, unit, Relaxation.CLOSE_REPORT, **_by(command), reason=command.reason
            ),
        )

    @router.post("/{ref}/end_intervention", dependencies=may_act)
    async def end_intervention(ref: str, command: Decide) -> IncidentDocument:
        """Propose that the intervention ends without a confirmation (S1)."""
        return await do(
            ref,
            lambda one, unit: commands.propose(
                one, unit, Relaxation.END_INTERVENTION, **_by(command), reason=command.reason
            ),
        )

    @router.post("/{ref}/close", dependencies=may_act)
    async def close(ref: str, command: Close) -> IncidentDocument:
        """Close the incident with a disposition; of a high or critical one that is a proposal (S1)."""
        return await do(
            ref, lambda one, unit: commands.close(one, unit, **_by(command), disposition=command.disposition)
        )

    @router.post("/{ref}/approve", dependencies=may_act)
    async def approve(ref: str, command: ApproveAny) -> IncidentDocument:
        """Agree to what somebody else has proposed (S1)."""
        return await do(ref, lambda one, unit: _approve(one, unit, command.relaxation, command))

    @router.post("/{ref}/approve_reassessment", dependencies=may_act)
    async def approve_reassessment(ref: str, command: Approve) -> IncidentDocument:
        """Agree to a lower severity (S1)."""
        return await do(ref, lambda one, unit: _approve(one, unit, Relaxation.LOWER_SEVERITY, command))

    @router.post("/{ref}/approve_close", dependencies=may_act)
    async def approve_close(ref: str, command: Approve) -> IncidentDocument:
        """Agree to closing it (S1)."""
        return await do(ref, lambda one, unit: _approve(one, unit, Relaxation.CLOSE, command))

    @router.post("/{ref}/reject", dependencies=may_act)
    async def reject(ref: str, command: Reject) -> IncidentDocument:
        """Turn down what was proposed, or take it back (S1)."""
        return await do(ref, lambda one, unit: commands.reject(one, unit, command.relaxation, **_by(command)))

    @router.post("/{ref}/reopen", dependencies=may_act)
    async def reopen(ref: str, command: Command) -> IncidentDocument:
        """Have a closed incident looked at again (S4)."""
        return await do(ref, lambda one, unit: commands.reopen(one, unit, **_by(command)))

    @router.get("/{ref}/protected", dependencies=[Depends(require(Scope.INCIDENTS_PROTECTED))])
    async def protected(ref: str, by: Annotated[handlers.Reader, Depends(person)]) -> ProtectedDocument:
        """Notes, pseudonyms, what was set apart, and records nobody could read, of this incident and of those merged into it.

        Who reads, in which role and why has to be said. After the end of retention there is nothing.
        """
        async with units.begin() as unit:
            found = _known(await store.read_incident(unit.connection, ref) if fit_id(ref) else None)
            opened = await unit.vault.open(unit.connection, found.ref)
            handlers.read([found.ref], by, unit, what="protected_read")
        values = [
            Protected(id=one.id, incident_ref=one.incident_ref, kind=one.kind, at=one.at, value=orjson.loads(one.value))
            for one in opened
        ]
        return ProtectedDocument(incident_ref=found.ref, values=values)

    @router.post("/{ref}/notes", dependencies=may_act, status_code=201)
    async def note(ref: str, command: Note) -> NoteTaken:
        """Keep a note; it is sealed, and shown where protected values are. Of a taken incident it is progress (S4)."""
        async with units.begin() as unit:
            known = await _locked(unit, ref)
            commands.note(known, unit, actor=command.actor.actor(), text=command.text)
        return NoteTaken(incident_ref=known.ref)

    @router.post("/{ref}/erasure", dependencies=may_act)
    async def erasure(ref: str, command: Erasure) -> RetentionDocument:
        """Somebody asks for erasure: the content is kept until its date, and that answer is recorded (S5)."""
        async with units.begin() as unit:
            known = await _locked(unit, ref)
            commands.must_be_staff(command.actor.actor(), unit)
            kept = await unit.vault.retention_of(unit.connection, known.ref)
            why = kept.why_kept(known, unit.now) or Reason.RETENTION_OVER
            handlers.decide_retention(kept, unit, "erasure_restricted", why, **_said(command.actor))
        return RetentionDocument(incident_ref=known.ref, restricted_until=kept.delete_after, reason_code=why)

    @router.post("/{ref}/legal-hold", dependencies=may_act)
    async def legal_hold(ref: str, command: LegalHold) -> RetentionDocument:
        """Place a hold (legal and compliance), or lift it: another person than the one who placed it (S1)."""
        async with units.begin() as unit:
            known = await _locked(unit, ref)
            commands.must_be_staff(command.actor.actor(), unit)
            before = await unit.vault.retention_of(unit.connection, known.ref)
            change = before.held if command.hold else before.lifted
            after = change(actor_id=command.actor.id, actor_role=command.actor.role)
            if after != before:
                await unit.vault.keep(unit.connection, after, look_at=after.delete_after)
                decision = "hold_placed" if command.hold else "hold_lifted"
                handlers.decide_retention(after, unit, decision, Reason.LEGAL_HOLD, **_said(command.actor))
            why = after.why_kept(known, unit.now) or Reason.RETENTION_OVER
        return RetentionDocument(incident_ref=known.ref, restricted_until=after.delete_after, reason_code=why)

    return router


class _By(TypedDict):
    epoch: int
    actor: Actor


def _by(command: Command) -> _By:
    return {"epoch": command.epoch, "actor": command.actor.actor()}


def _severity(word: str | None) -> Severity | None:
    return Severity[word.upper()] if word else None


def _approve(known: Incident, unit: SafetyUnit, relaxation: Relaxation, command: Approve) -> Incident:
    return commands.approve(known, unit, relaxation, **_by(command), snapshot=command.snapshot)


def _decide_about_guardian(known: Incident, unit: SafetyUnit, command: GuardianDecide) -> Incident:
    told = {"sent": GuardianTrack.SENT, "confirmed": GuardianTrack.CONFIRMED}
    if command.decision == "release" and known.guardian_track is not GuardianTrack.HELD:
        told["release"] = GuardianTrack.PLANNED
    if command.decision in told:
        return commands.guardian_told(known, unit, **_by(command), track=told[command.decision])
    relaxation = {"release": Relaxation.RELEASE_GUARDIAN, "suppress": Relaxation.SUPPRESS_GUARDIAN}[command.decision]
    return commands.propose(known, unit, relaxation, **_by(command), reason=command.reason or "")


async def _acknowledge_one(units: UnitsOfWork[SafetyUnit], actor: ActorDocument, one: Listed) -> AcknowledgedOne:
    try:
        async with units.begin() as unit:
            known = await _locked(unit, one.incident_ref)
            commands.acknowledge(known, unit, epoch=one.epoch, actor=actor.actor())
    except Refusal as refusal:
        return AcknowledgedOne(
            incident_ref=one.incident_ref, status=refusal.status, problem=f"/problems/{refusal.slug}"
        )
    except Problem as problem:
        return AcknowledgedOne(
            incident_ref=one.incident_ref, status=problem.status, problem=f"/problems/{problem.slug}"
        )
    return AcknowledgedOne(incident_ref=one.incident_ref, status=200)


def _said(actor: ActorDocument) -> dict[str, str]:
    return {"actor_id": actor.id, "actor_role": actor.role}


async def _locked(unit: SafetyUnit, ref: str) -> Incident:
    return _known(await unit.incidents.load_one(unit.connection, ref) if fit_id(ref) else None)


def _known(found: Incident | None) -> Incident:
    if found is None:
        raise Problem(404)
    return found


def _document(one: Incident, policy: Policy, now: datetime) -> IncidentDocument:
    acknowledge_by = [clock.due_at for clock in one.clocks if clock.promise is Promise.ACKNOWLEDGE]
    return IncidentDocument(
        **handlers.shown(one),
        unknown_responses=len(one.facts.unknown_responses),
        agent_would_take_back=tuple(sorted(one.facts.lowerings(policy))),
        proposals=tuple(_proposal(proposal, one, policy, now) for proposal in one.proposals),
        detected_at=one.facts.detected_at,
        opened_at=one.opened_at,
        deadlines=Deadlines(
            acknowledge_by=min(acknowledge_by, default=None), clocks=tuple(_clock(clock, now) for clock in one.clocks)
        ),
        roles_missing=tuple(sorted(one.roles_missing(policy))),
        acknowledgements=tuple(
            Taken(epoch=taken.epoch, role=taken.role, actor_id=taken.actor_id, at=taken.at)
            for taken in one.acknowledgements
        ),
        lease_ends_at=one.lease_ends_at,
        coordinated_with=one.coordinated_with,
        done=tuple(sorted(one.done)),
        open_points=approvals.open_points(one, policy),
        disposition=one.disposition,
        next_page_at=one.next_page_at,
        next_look_at=deadlines.next_look_at(one, policy),
        continues_in=one.continues_in,
    )


def _clock(clock: Clock, now: datetime) -> ClockDocument:
    is_breached = clock.due_at <= now if clock.met_at is None else clock.due_at < clock.met_at
    return ClockDocument(
        clock=clock.promise,
        incident_class=clock.incident_class,
        started_at=clock.started_at,
        due_at=clock.due_at,
        state="breached" if is_breached else "running" if clock.met_at is None else "met",
        met_at=clock.met_at,
    )


def _proposal(proposal: Proposal, one: Incident, policy: Policy, now: datetime) -> ProposalDocument:
    return ProposalDocument(
        relaxation=proposal.relaxation,
        reason=proposal.reason,
        severity=proposal.severity.word if proposal.severity else None,
        by=ActorDocument(id=proposal.by.id, role=proposal.by.role),
        at=proposal.at,
        expires_at=approvals.expires_at(proposal, policy),
        snapshot=proposal.snapshot,
        is_pending=approvals.is_pending(one, proposal, now, policy),
    )
