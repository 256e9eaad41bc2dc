"""What a person does about an incident: acknowledge, raise, get on with it, close and reopen. Nothing here silences (S1, S4)."""

from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime

from safety_bridge.domain.approvals import NotApplicable, ReasonUnknown, closed, open_points, takes_two_to_close
from safety_bridge.domain.incident import (
    ON_CALL_FOR,
    Acknowledgement,
    Actor,
    ContinuesElsewhere,
    EpochHasPassed,
    GuardianDecision,
    Incident,
    Signal,
    merge,
    must_be_current,
    new_epoch,
    renew_lease,
    reopened,
)
from safety_bridge.domain.tracks import GuardianContact, GuardianTrack, Handling, InterventionTrack
from shared.errors import Refusal
from shared.policy.model import Policy, Relaxation
from shared.vocabulary import IncidentClass, Response, Severity


class RoleNotHeld(Refusal):
    """No person of this id holds this role."""

    status = 403
    slug = "role-not-held"
    clause = "S4"


class RoleNotRequired(Refusal):
    """This role cannot acknowledge this incident; paging goes on."""

    slug = "role-not-required"
    clause = "S4"


class SeverityNeverFalls(Refusal):
    """The incident is more severe already, and nobody lowers a severity alone."""

    slug = "severity-never-falls"
    clause = "S1"


class NotAcknowledged(Refusal):
    """Nobody has taken the incident as it is now; acknowledge it first."""

    slug = "not-acknowledged"
    clause = "S4"


def must_hold(actor: Actor, held: AbstractSet[str]) -> None:
    """
    Raises:
        RoleNotHeld: the person holds none of the roles that may act so; a service account holds none at all (S1).
    """
    if not held & ON_CALL_FOR.get(actor.role, frozenset({actor.role})):
        raise RoleNotHeld


def acknowledge(incident: Incident, *, epoch: int, actor: Actor, now: datetime, policy: Policy) -> Incident:
    """The incident with this role's acknowledgement; the last one missing ends paging, not the incident (S4).

    Raises:
        ContinuesElsewhere, AlreadyClosed, EpochHasPassed, RoleNotRequired: nothing changes and paging goes on.
    """
    must_be_current(incident, epoch)
    required = next((one for one, on_call in ON_CALL_FOR.items() if actor.role in on_call), actor.role)
    missing = incident.roles_missing(policy)
    if required in incident.roles_acknowledged:
        return incident
    if required not in missing:
        raise RoleNotRequired
    taken = Acknowledgement(epoch, required, actor.id, now)
    incident = replace(incident, acknowledgements=(*incident.acknowledgements, taken))
    if missing - {required}:
        return incident
    incident = replace(incident, handling=Handling.ACKNOWLEDGED, next_page_at=None)
    return renew_lease(incident, now=now, policy=policy)


def raise_by_person(
    incident: Incident,
    *,
    epoch: int,
    severity: Severity | None,
    incident_class: IncidentClass | None,
    response: Response | None,
    now: datetime,
    policy: Policy,
) -> Incident:
    """A person makes it more severe, adds a class or a response; nobody makes it less (S1). A closed one is reopened by it.

    Raises:
        ContinuesElsewhere, EpochHasPassed, SeverityNeverFalls: nothing changes.
    """
    if incident.continues_in is not None:
        raise ContinuesElsewhere
    if epoch != incident.epoch:
        raise EpochHasPassed
    if severity is not None and severity < incident.severity_working:
        raise SeverityNeverFalls
    facts = incident.facts
    is_report = incident_class is IncidentClass.MANDATORY_REPORT or response is Response.MANDATORY_REPORTING
    said = replace(
        facts,
        severity=severity or facts.severity,
        since={**facts.since, **({incident_class: now} if incident_class else {})},
        asked={**facts.asked, **({response: (now, 0)} if response else {})},
        last_severity=(now, 0, severity) if severity else facts.last_severity,
        last_report=(now, 0, True) if is_report else facts.last_report,
    )
    return merge(incident, Signal(said), now=now, policy=policy)


def progress(incident: Incident, *, epoch: int, kind: str, now: datetime, policy: Policy) -> Incident:
    """Something has been done: the acknowledgement holds for another while, and an item of the checklist is done (S4).

    Raises:
        ContinuesElsewhere, AlreadyClosed, EpochHasPassed, NotAcknowledged, ReasonUnknown: nothing changes.
    """
    _must_be_taken(incident, epoch)
    checklist = incident.checklist(policy)
    if kind not in checklist and kind not in policy.safety.progress:
        raise ReasonUnknown
    done = incident.done | ({kind} & checklist)
    return _on(replace(incident, done=done), now, policy)


def coordinate(incident: Incident, *, epoch: int, counterpart: str, now: datetime, policy: Policy) -> Incident:
    """Somebody of the Safety Team, by name, works on it too (S4).

    Raises:
        ContinuesElsewhere, AlreadyClosed, EpochHasPassed, NotAcknowledged: nothing changes.
    """
    _must_be_taken(incident, epoch)
    handling = Handling.COORDINATING if incident.handling is Handling.ACKNOWLEDGED else incident.handling
    return _on(replace(incident, handling=handling, coordinated_with=counterpart), now, policy)


def hand_off(incident: Incident, *, epoch: int, now: datetime, policy: Policy) -> Incident:
    """Whoever is in danger has been handed over to help; that has to be confirmed (S3).

    Raises:
        ContinuesElsewhere, AlreadyClosed, EpochHasPassed, NotApplicable: nothing changes.
    """
    must_be_current(incident, epoch)
    if incident.facts.intervention >= InterventionTrack.HANDED_OFF:
        raise NotApplicable
    facts = replace(incident.facts, intervention=InterventionTrack.HANDED_OFF, handed_off_at=now)
    return _on(replace(incident, facts=facts), now, policy)


def confirm_hand_off(incident: Incident, *, epoch: int, now: datetime, policy: Policy) -> Incident:
    """Help has really reached them (S3).

    Raises:
        ContinuesElsewhere, AlreadyClosed, EpochHasPassed, NotApplicable: nothing changes.
    """
    must_be_current(incident, epoch)
    if incident.facts.intervention is not InterventionTrack.HANDED_OFF:
        raise NotApplicable
    facts = replace(incident.facts, intervention=InterventionTrack.CONFIRMED, confirmed_at=now)
    return _on(replace(incident, facts=facts), now, policy)


def guardian_told(incident: Incident, track: GuardianTrack, *, epoch: int, now: datetime, policy: Policy) -> Incident:
    """A person releases the message to a guardian who may be told, has sent it, or knows that it arrived (S5).

    Raises:
        ContinuesElsewhere, AlreadyClosed, EpochHasPassed, NotApplicable: nothing changes; what is held takes two persons.
    """
    must_be_current(incident, epoch)
    is_released = incident.guardian_decision is not None
    follows = {
        GuardianTrack.PLANNED: incident.guardian_track is GuardianTrack.PLANNED,
        GuardianTrack.SENT: incident.guardian_track is GuardianTrack.PLANNED and is_released,
        GuardianTrack.CONFIRMED: incident.guardian_track is GuardianTrack.SENT,
    }
    if not follows[track]:
        raise NotApplicable
    released_for = GuardianContact.ALLOWED if track is GuardianTrack.PLANNED else incident.facts.guardian_contact
    if track is GuardianTrack.PLANNED and incident.guardian_decision is not None:
        return incident
    return _on(replace(incident, guardian_decision=GuardianDecision(track, released_for)), now, policy)


def close(incident: Incident, *, epoch: int, disposition: str, policy: Policy) -> Incident:
    """The end of a low or medium incident of which nothing is open (S1, S4).

    Raises:
        ContinuesElsewhere, AlreadyClosed, EpochHasPassed, ReasonUnknown, NotApplicable: nothing changes.
    """
    must_be_current(incident, epoch)
    if disposition not in policy.safety.reasons[Relaxation.CLOSE]:
        raise ReasonUnknown
    if takes_two_to_close(incident) or open_points(incident, policy):
        raise NotApplicable
    return closed(incident, disposition)


def reopen(incident: Incident, *, epoch: int, now: datetime) -> Incident:
    """Somebody wants it looked at again: paging begins anew (S4).

    Raises:
        ContinuesElsewhere, EpochHasPassed, NotApplicable: nothing changes.
    """
    if incident.continues_in is not None:
        raise ContinuesElsewhere
    if epoch != incident.epoch:
        raise EpochHasPassed
    if incident.handling is not Handling.CLOSED:
        raise NotApplicable
    return new_epoch(reopened(incident), now=now)


def _must_be_taken(incident: Incident, epoch: int) -> None:
    must_be_current(incident, epoch)
    if incident.handling is Handling.PAGING:
        raise NotAcknowledged


def _on(incident: Incident, now: datetime, policy: Policy) -> Incident:
    """The incident with something done: followed up once all of its checklist is, and held for another while (S4)."""
    is_done = incident.coordinated_with is not None and incident.checklist(policy) <= incident.done
    if is_done and incident.handling in (Handling.ACKNOWLEDGED, Handling.COORDINATING):
        incident = replace(incident, handling=Handling.FOLLOW_UP)
    return renew_lease(incident, now=now, policy=policy)
