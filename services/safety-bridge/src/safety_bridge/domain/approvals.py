"""What nobody decides alone: one person proposes, another one agrees, and both saw the same incident (S1)."""

import hashlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import datetime, timedelta
from enum import Enum

from safety_bridge.domain.incident import (
    LEGAL_COMPLIANCE,
    NEEDS_TWO_TO_CLOSE,
    SAFETY_TEAM,
    Actor,
    GuardianDecision,
    Incident,
    Proposal,
    must_be_current,
    new_epoch,
    renew_lease,
)
from safety_bridge.domain.tracks import GuardianTrack, Handling
from shared.errors import Refusal
from shared.policy.model import Policy, Relaxation
from shared.vocabulary import Severity

APPROVERS = frozenset({SAFETY_TEAM, LEGAL_COMPLIANCE})
"""Whose agreement counts; closing a report takes Legal's (S1)."""
SEEN = (
    "facts",
    "epoch",
    "lowered_to",
    "acknowledgements",
    "handling",
    "done",
    "coordinated_with",
    "report_closed_for",
    "intervention_ended_for",
    "guardian_decision",
)
"""What both persons have to have seen alike."""


class ReasonUnknown(Refusal):
    """The policy knows no such reason for this."""

    status = 422
    slug = "reason-unknown"
    clause = "S1"


class NotApplicable(Refusal):
    """The incident does not stand where this can be decided; read it to see what is still open."""

    slug = "not-applicable"
    clause = "S1"


class AlreadyProposed(Refusal):
    """Somebody has proposed this already; agree to it or reject it."""

    slug = "already-proposed"
    clause = "S1"


class NothingProposed(Refusal):
    """Nobody has proposed this, or what they proposed has been decided."""

    slug = "nothing-proposed"
    clause = "S1"


class TakesAnother(Refusal):
    """It takes another person: neither who proposed it nor whose acknowledgement is current may agree to it."""

    status = 403
    slug = "takes-another-person"
    clause = "S1"


class RoleMayNotApprove(Refusal):
    """This role may not agree to that."""

    status = 403
    slug = "role-may-not-approve"
    clause = "S1"


class ProposalHasExpired(Refusal):
    """The proposal is too old to be agreed to; propose it again."""

    slug = "proposal-expired"
    clause = "S1"


class SnapshotIsVoid(Refusal):
    """The incident has changed since this was proposed; propose it again."""

    slug = "snapshot-void"
    clause = "S1"


def propose(
    incident: Incident,
    relaxation: Relaxation,
    *,
    epoch: int,
    reason: str,
    actor: Actor,
    now: datetime,
    policy: Policy,
    severity: Severity | None = None,
) -> Incident:
    """The incident with what one person asks for; nothing else of it changes (S1).

    Raises:
        ContinuesElsewhere, AlreadyClosed, EpochHasPassed, ReasonUnknown, NotApplicable, AlreadyProposed: nothing changes.
    """
    must_be_current(incident, epoch)
    if reason not in policy.safety.reasons[relaxation]:
        raise ReasonUnknown
    if not _is_applicable(incident, relaxation, severity, policy):
        raise NotApplicable
    if any(one.relaxation is relaxation and is_pending(incident, one, now, policy) for one in incident.proposals):
        raise AlreadyProposed
    proposal = Proposal(relaxation, reason, actor, now, snapshot(incident), severity)
    return replace(incident, proposals=(*_without(incident, relaxation), proposal))


def approve(
    incident: Incident, relaxation: Relaxation, *, epoch: int, seen: str, actor: Actor, now: datetime, policy: Policy
) -> tuple[Incident, Proposal]:
    """The incident with what two persons have agreed on. `seen` is the snapshot that the second one has read (S1).

    Raises:
        ContinuesElsewhere, AlreadyClosed, EpochHasPassed, NothingProposed, TakesAnother, RoleMayNotApprove,
        ProposalHasExpired, SnapshotIsVoid: nothing changes.
    """
    must_be_current(incident, epoch)
    proposal = proposal_of(incident, relaxation)
    if actor.id == proposal.by.id or actor.id in incident.ackers:
        raise TakesAnother
    if actor.role not in ({LEGAL_COMPLIANCE} if relaxation is Relaxation.CLOSE_REPORT else APPROVERS):
        raise RoleMayNotApprove
    if now > expires_at(proposal, policy):
        raise ProposalHasExpired
    if not seen == proposal.snapshot == snapshot(incident):
        raise SnapshotIsVoid
    agreed = replace(incident, proposals=_without(incident, relaxation))
    return _apply(agreed, proposal, now, policy), proposal


def reject(incident: Incident, relaxation: Relaxation, *, epoch: int) -> tuple[Incident, Proposal]:
    """The incident without that proposal.

    Raises:
        ContinuesElsewhere, AlreadyClosed, EpochHasPassed, NothingProposed: nothing changes.
    """
    must_be_current(incident, epoch)
    proposal = proposal_of(incident, relaxation)
    return replace(incident, proposals=_without(incident, relaxation)), proposal


def proposal_of(incident: Incident, relaxation: Relaxation) -> Proposal:
    """
    Raises:
        NothingProposed: there is none.
    """
    for one in incident.proposals:
        if one.relaxation is relaxation:
            return one
    raise NothingProposed


def is_pending(incident: Incident, proposal: Proposal, now: datetime, policy: Policy) -> bool:
    """Whether it can still be agreed to: it is young, and the incident is what it was."""
    return now <= expires_at(proposal, policy) and proposal.snapshot == snapshot(incident)


def expires_at(proposal: Proposal, policy: Policy) -> datetime:
    """Until when it can be agreed to."""
    return proposal.at + timedelta(minutes=policy.safety.proposal_valid_minutes)


def snapshot(incident: Incident) -> str:
    """Stands for all that counts of an incident; it changes with every event and command that says something new (S1)."""
    canonical = repr([_canonical(getattr(incident, name)) for name in SEEN])
    return hashlib.blake2b(canonical.encode(), digest_size=16).hexdigest()


def open_points(incident: Incident, policy: Policy) -> tuple[str, ...]:
    """What stands in the way of closing it (S4)."""
    points = {
        "acknowledgement": incident.handling is Handling.PAGING,
        "coordination": incident.coordinated_with is None,
        "report": incident.is_report_open,
        "intervention": incident.is_intervention_open,
        "guardian": incident.guardian_track in (GuardianTrack.HELD, GuardianTrack.PLANNED),
    }
    points |= {item: item not in incident.done for item in sorted(incident.checklist(policy))}
    return tuple(point for point, is_open in points.items() if is_open)


def takes_two_to_close(incident: Incident) -> bool:
    """By its peak, also where two persons have lowered it (S1)."""
    return incident.facts.severity >= NEEDS_TWO_TO_CLOSE


def closed(incident: Incident, disposition: str) -> Incident:
    """The incident at its end: nobody is paged for it unless it is reopened."""
    return replace(
        incident, handling=Handling.CLOSED, disposition=disposition, lease_ends_at=None, next_page_at=None, proposals=()
    )


def _is_applicable(incident: Incident, relaxation: Relaxation, severity: Severity | None, policy: Policy) -> bool:
    match relaxation:
        case Relaxation.CLOSE:
            return not open_points(incident, policy)
        case Relaxation.LOWER_SEVERITY:
            return severity is not None and severity < incident.severity_working
        case Relaxation.CLOSE_REPORT:
            return incident.is_report_open
        case Relaxation.END_INTERVENTION:
            return incident.is_intervention_open
        case Relaxation.RELEASE_GUARDIAN:
            return incident.guardian_track is GuardianTrack.HELD
        case Relaxation.SUPPRESS_GUARDIAN:
            return incident.guardian_track in (GuardianTrack.HELD, GuardianTrack.PLANNED)


def _apply(incident: Incident, proposal: Proposal, now: datetime, policy: Policy) -> Incident:
    match proposal.relaxation:
        case Relaxation.CLOSE:
            return closed(incident, proposal.reason)
        case Relaxation.LOWER_SEVERITY:
            incident = replace(incident, lowered_to=proposal.severity)
            incident = new_epoch(incident, now=now) if incident.next_page_at is not None else incident
        case Relaxation.CLOSE_REPORT:
            incident = replace(incident, report_closed_for=proposal.reason)
        case Relaxation.END_INTERVENTION:
            incident = replace(incident, intervention_ended_for=proposal.reason)
        case Relaxation.RELEASE_GUARDIAN:
            decision = GuardianDecision(GuardianTrack.PLANNED, incident.facts.guardian_contact)
            incident = replace(incident, guardian_decision=decision)
        case Relaxation.SUPPRESS_GUARDIAN:
            decision = GuardianDecision(GuardianTrack.SUPPRESSED, incident.facts.guardian_contact)
            incident = replace(incident, guardian_decision=decision)
    return renew_lease(incident, now=now, policy=policy)


def _without(incident: Incident, relaxation: Relaxation) -> tuple[Proposal, ...]:
    return tuple(one for one in incident.proposals if one.relaxation is not relaxation)


def _canonical(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return [_canonical(getattr(value, one.name)) for one in fields(value)]
    if isinstance(value, Mapping):
        return sorted((str(key), _canonical(each)) for key, each in value.items())
    if isinstance(value, frozenset):
        return sorted(map(str, value))
    if isinstance(value, tuple):
        return [_canonical(each) for each in value]
    return value.value if isinstance(value, Enum) else str(value)
