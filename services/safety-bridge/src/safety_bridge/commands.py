"""What a person asks for: checked against the roles they hold, decided by the domain, told, kept.

Nothing here silences, and whatever relaxes something takes two (S1). Raising is open to everybody whom a key lets in: it must
never wait for a name in a list.
"""

import orjson

from safety_bridge.domain import approvals, commands, identity
from safety_bridge.domain.commands import must_hold
from safety_bridge.domain.incident import Actor, Incident, must_be_current
from safety_bridge.domain.tracks import GuardianTrack, Handling
from safety_bridge.handlers import keep, look, tell
from safety_bridge.store import SafetyUnit
from safety_bridge.vault import Kind
from shared.errors import Refusal
from shared.events.safety import (
    IncidentEvent,
    SafetyIncidentAcknowledged,
    SafetyIncidentClosed,
    SafetyIncidentCoordinated,
    SafetyIncidentProgressed,
    SafetyIncidentReopened,
    SafetyIncidentUpdated,
    SafetyReassessmentApproved,
    SafetyReassessmentProposed,
    SafetyReassessmentRejected,
)
from shared.policy.model import Relaxation
from shared.vocabulary import IncidentClass, Response, Severity, TicketId

NOTE_ADDED = "note_added"
"""The policy's word for a note as progress."""
RAISED_BY = "raised by somebody whom the directory does not know"
_TAKEN = (Handling.ACKNOWLEDGED, Handling.COORDINATING, Handling.FOLLOW_UP)


class TicketHasAnIncident(Refusal):
    """The ticket belongs to another incident."""

    slug = "ticket-has-an-incident"
    clause = "S8"


def acknowledge(known: Incident, unit: SafetyUnit, *, epoch: int, actor: Actor) -> Incident:
    """A person takes the incident as it stands in this epoch (S4)."""
    must_be_staff(actor, unit)
    after = commands.acknowledge(known, epoch=epoch, actor=actor, now=unit.now, policy=unit.policy)
    if after is known:
        return known
    taken = Actor(actor.id, after.acknowledgements[-1].role)
    return _told(SafetyIncidentAcknowledged, after, unit, taken, clause="S4")


def raise_(
    known: Incident,
    unit: SafetyUnit,
    *,
    epoch: int,
    actor: Actor,
    severity: Severity | None = None,
    incident_class: IncidentClass | None = None,
    response: Response | None = None,
) -> Incident:
    """A person makes the incident more severe, adds a class or a response; what it is already changes nothing (S1).

    Who it was is told of those the directory knows; what anybody else calls themselves is sealed, since it may be anything (S5).
    """
    after = commands.raise_by_person(
        known,
        epoch=epoch,
        severity=severity,
        incident_class=incident_class,
        response=response,
        now=unit.now,
        policy=unit.policy,
    )
    if actor.id in unit.staff:
        return keep(known, after, unit, actor=actor)
    unit.vault.seal(
        known.ref, Kind.NOTE, orjson.dumps({"text": RAISED_BY, "actor_id": actor.id, "actor_role": actor.role})
    )
    return keep(known, after, unit)


def progress(known: Incident, unit: SafetyUnit, *, epoch: int, actor: Actor, kind: str) -> Incident:
    """A person says what has been done (S4)."""
    must_be_staff(actor, unit)
    after = commands.progress(known, epoch=epoch, kind=kind, now=unit.now, policy=unit.policy)
    return _told(SafetyIncidentProgressed, after, unit, actor, kind, clause="S4")


def note(known: Incident, unit: SafetyUnit, *, actor: Actor, text: str) -> None:
    """A person's own words about the matter: sealed, and never in a message, however harmless they look (S5). Of an incident
    that somebody has taken it is progress (S4)."""
    must_be_staff(actor, unit)
    said = {"text": text, "actor_id": actor.id, "actor_role": actor.role}
    unit.vault.seal(known.ref, Kind.NOTE, orjson.dumps(said), actor=actor.id, role=actor.role)
    if known.handling in _TAKEN and known.continues_in is None:
        progress(known, unit, epoch=known.epoch, actor=actor, kind=NOTE_ADDED)


def coordinate(known: Incident, unit: SafetyUnit, *, epoch: int, actor: Actor, counterpart: str) -> Incident:
    """A person says who of the Safety Team works on it too (S4)."""
    must_be_staff(actor, unit)
    must_be_staff(Actor(counterpart, "safety_team"), unit)
    after = commands.coordinate(known, epoch=epoch, counterpart=counterpart, now=unit.now, policy=unit.policy)
    return _told(SafetyIncidentCoordinated, after, unit, actor, clause="S4")


def hand_off(known: Incident, unit: SafetyUnit, *, epoch: int, actor: Actor) -> Incident:
    """A person says that somebody in danger has been handed over to help (S3)."""
    must_be_staff(actor, unit)
    after = commands.hand_off(known, epoch=epoch, now=unit.now, policy=unit.policy)
    return _told(SafetyIncidentProgressed, after, unit, actor, "handed_off", clause="S3")


def confirm_hand_off(known: Incident, unit: SafetyUnit, *, epoch: int, actor: Actor) -> Incident:
    """A person says that help has really reached them (S3)."""
    must_be_staff(actor, unit)
    after = commands.confirm_hand_off(known, epoch=epoch, now=unit.now, policy=unit.policy)
    return _told(SafetyIncidentProgressed, after, unit, actor, "hand_off_confirmed", clause="S3")


def guardian_told(known: Incident, unit: SafetyUnit, *, epoch: int, actor: Actor, track: GuardianTrack) -> Incident:
    """A person releases the message to a guardian who may be told, has sent it, or knows that it arrived (S5)."""
    must_be_staff(actor, unit)
    after = commands.guardian_told(known, track, epoch=epoch, now=unit.now, policy=unit.policy)
    return _told(SafetyIncidentProgressed, after, unit, actor, f"guardian_{track}", clause="S5")


async def link_ticket(known: Incident, unit: SafetyUnit, *, epoch: int, actor: Actor, ticket_id: TicketId) -> Incident:
    """A person says that a ticket is about this incident; what is said of it from now on belongs here (S8).

    Raises:
        TicketHasAnIncident: it belongs to another one.
    """
    must_be_staff(actor, unit)
    must_be_current(known, epoch)
    name = identity.of_ticket(ticket_id, known.mode)
    await unit.incidents.load(unit.connection, [name])
    linked = unit.incidents.find(name)
    if linked is not None and linked.ref != known.ref:
        raise TicketHasAnIncident
    unit.incidents.save(known, [name])
    return _told(SafetyIncidentUpdated, known, unit, actor, "ticket_linked", clause="S8")


def propose(
    known: Incident,
    unit: SafetyUnit,
    relaxation: Relaxation,
    *,
    epoch: int,
    actor: Actor,
    reason: str,
    severity: Severity | None = None,
) -> Incident:
    """A person asks for what nobody decides alone (S1)."""
    must_be_staff(actor, unit)
    after = approvals.propose(
        known,
        relaxation,
        epoch=epoch,
        reason=reason,
        actor=actor,
        now=unit.now,
        policy=unit.policy,
        severity=severity,
    )
    after = tell(
        SafetyReassessmentProposed, after, unit, "S1", actor=actor, reason_code=relaxation, proposed_severity=severity
    )
    return look(after, unit)


def approve(
    known: Incident, unit: SafetyUnit, relaxation: Relaxation, *, epoch: int, actor: Actor, snapshot: str
) -> Incident:
    """A second person agrees to what they have read, and it is so (S1)."""
    must_be_staff(actor, unit)
    after, agreed = approvals.approve(
        known, relaxation, epoch=epoch, seen=snapshot, actor=actor, now=unit.now, policy=unit.policy
    )
    if relaxation is Relaxation.CLOSE:
        return _told(SafetyIncidentClosed, after, unit, actor, agreed.reason, clause="S1")
    after = tell(
        SafetyReassessmentApproved,
        after,
        unit,
        "S1",
        actor=actor,
        reason_code=relaxation,
        proposed_severity=agreed.severity,
    )
    return look(after, unit)


def reject(known: Incident, unit: SafetyUnit, relaxation: Relaxation, *, epoch: int, actor: Actor) -> Incident:
    """A person turns down what was proposed, or takes it back (S1)."""
    must_be_staff(actor, unit)
    after, _ = approvals.reject(known, relaxation, epoch=epoch)
    return _told(SafetyReassessmentRejected, after, unit, actor, relaxation, clause="S1")


def close(known: Incident, unit: SafetyUnit, *, epoch: int, actor: Actor, disposition: str) -> Incident:
    """The end of an incident; of a high or critical one it is a proposal that a second person has to agree to (S1)."""
    if approvals.takes_two_to_close(known):
        return propose(known, unit, Relaxation.CLOSE, epoch=epoch, actor=actor, reason=disposition)
    must_be_staff(actor, unit)
    after = commands.close(known, epoch=epoch, disposition=disposition, policy=unit.policy)
    return _told(SafetyIncidentClosed, after, unit, actor, disposition, clause="S1")


def reopen(known: Incident, unit: SafetyUnit, *, epoch: int, actor: Actor) -> Incident:
    """A person wants it looked at again (S4)."""
    must_be_staff(actor, unit)
    after = commands.reopen(known, epoch=epoch, now=unit.now)
    return _told(SafetyIncidentReopened, after, unit, actor, clause="S4")


def must_be_staff(actor: Actor, unit: SafetyUnit) -> None:
    """
    Raises:
        RoleNotHeld: the directory does not know this person in this role.
    """
    must_hold(actor, unit.staff.get(actor.id, frozenset()))


def _told(
    event: type[IncidentEvent],
    after: Incident,
    unit: SafetyUnit,
    actor: Actor,
    reason_code: str | None = None,
    *,
    clause: str,
) -> Incident:
    """Told with who did it, kept, and looked at: a clock may be met by it."""
    return look(tell(event, after, unit, clause, actor=actor, reason_code=reason_code), unit)
