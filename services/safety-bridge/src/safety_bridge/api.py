"""The HTTP edge: incidents as they stand, and what a person may do about them. A GET changes nothing (S4)."""

from typing import Annotated, Literal, Self

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from safety_bridge import handlers, store
from safety_bridge.domain.identity import Mode, fit_id
from safety_bridge.domain.incident import Incident
from safety_bridge.store import SafetyUnit
from shared.events.envelope import Identifier, Instant
from shared.events.safety import Tracks
from shared.messaging.unit_of_work import UnitsOfWork
from shared.policy.model import Policy
from shared.runtime.http import Problem, require
from shared.runtime.settings import Scope
from shared.vocabulary import IncidentClass, Response, Severity

Role = Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,40}$")]


class Actor(BaseModel):
    """The person who acts, and in which role."""

    id: Identifier
    role: Role


class Acknowledge(BaseModel):
    epoch: int
    actor: Actor


class Raise(BaseModel):
    """To which severity, or by which class."""

    model_config = ConfigDict(validate_by_name=True)

    epoch: int
    actor: Actor
    severity: Literal["low", "medium", "high", "critical"] | None = None
    incident_class: IncidentClass | None = Field(default=None, alias="class")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.severity is None) == (self.incident_class is None):
            raise ValueError("either severity or class")
        return self


class Deadlines(BaseModel):
    """Until when what has to have happened; None where the classes set nothing."""

    acknowledge_by: Instant | None


class Taken(BaseModel):
    """Who has acknowledged which epoch."""

    epoch: int
    role: str
    actor_id: str
    at: Instant


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
    detected_at: Instant
    opened_at: Instant
    deadlines: Deadlines
    roles_missing: tuple[str, ...]
    acknowledgements: tuple[Taken, ...]
    next_page_at: Instant | None
    continues_in: str | None


class IncidentList(BaseModel):
    incidents: list[IncidentDocument]


def routes(units: UnitsOfWork[SafetyUnit], policy: Policy) -> APIRouter:
    """The routes of the bridge."""
    router = APIRouter(prefix="/v1/incidents")
    may_read = [Depends(require(Scope.INCIDENTS_READ))]
    may_act = [Depends(require(Scope.INCIDENTS_ACT))]

    @router.get("", dependencies=may_read)
    async def incidents(agent_incident_id: str = "", ticket_id: str = "") -> IncidentList:
        """The latest incidents; with a filter, those of this agent's id or of this ticket."""
        if any(wanted and not fit_id(wanted) for wanted in (agent_incident_id, ticket_id)):
            return IncidentList(incidents=[])
        async with units.database.connection() as connection:
            found = await store.list_incidents(
                connection, agent_incident_id=agent_incident_id or None, ticket_id=ticket_id or None
            )
        return IncidentList(incidents=[_document(one, policy) for one in found])

    @router.get("/{ref}", dependencies=may_read)
    async def incident(ref: str) -> IncidentDocument:
        async with units.database.connection() as connection:
            found = await store.read_incident(connection, ref) if fit_id(ref) else None
        return _document(_known(found), policy)

    @router.post("/{ref}/acknowledge", dependencies=may_act)
    async def acknowledge(ref: str, command: Acknowledge) -> IncidentDocument:
        """Take the incident as it stands in this epoch; the last role needed ends paging (S4)."""
        async with units.begin() as unit:
            after = handlers.acknowledge_incident(
                await _locked(unit, ref),
                unit,
                epoch=command.epoch,
                actor_id=command.actor.id,
                actor_role=command.actor.role,
            )
        return _document(after, policy)

    @router.post("/{ref}/raise", dependencies=may_act)
    async def raise_(ref: str, command: Raise) -> IncidentDocument:
        """Make the incident more severe or add a class; nothing lowers it (S1)."""
        async with units.begin() as unit:
            after = handlers.raise_incident(
                await _locked(unit, ref),
                unit,
                epoch=command.epoch,
                severity=Severity[command.severity.upper()] if command.severity else None,
                incident_class=command.incident_class,
                actor_id=command.actor.id,
                actor_role=command.actor.role,
            )
        return _document(after, policy)

    return router


async def _locked(unit: SafetyUnit, ref: str) -> Incident:
    return _known(await unit.incidents.load_one(unit.connection, ref) if fit_id(ref) else None)


def _known(found: Incident | None) -> Incident:
    if found is None:
        raise Problem(404)
    return found


def _document(one: Incident, policy: Policy) -> IncidentDocument:
    return IncidentDocument(
        **handlers.shown(one),
        detected_at=one.facts.detected_at,
        opened_at=one.opened_at,
        deadlines=Deadlines(acknowledge_by=one.acknowledge_by(policy)),
        roles_missing=tuple(sorted(one.roles_missing(policy))),
        acknowledgements=tuple(
            Taken(epoch=taken.epoch, role=taken.role, actor_id=taken.actor_id, at=taken.at)
            for taken in one.acknowledgements
        ),
        next_page_at=one.next_page_at,
        continues_in=one.continues_in,
    )
