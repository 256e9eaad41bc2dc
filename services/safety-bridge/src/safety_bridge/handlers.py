"""What the bridge does about an event, a command and a page that is due: load, decide, save, emit.

What is emitted is built from codes alone; nothing an event says in its own words is ever passed on (S5).
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from safety_bridge.domain import identity, paging, signal
from safety_bridge.domain.identity import CROCKFORD, Identity, IdentityKind, Mode
from safety_bridge.domain.incident import (
    Incident,
    Signal,
    absorb,
    acknowledge,
    merge,
    open_incident,
    raise_by_person,
)
from safety_bridge.store import SafetyUnit, identities_of
from shared.errors import DeadLetterCode, InvalidMessage
from shared.events import agent
from shared.events.agent import AgentEvent, SafetyAgentHeartbeat, SafetyTicketFlagged, SafetyUnreadable
from shared.events.envelope import Event, Received, Record, decode, parse_json
from shared.events.routing import RoutingAssigned
from shared.events.safety import (
    IncidentEvent,
    SafetyIncidentAcknowledged,
    SafetyIncidentOpened,
    SafetyIncidentRaised,
    SafetyIncidentUpdated,
    SafetyPageRequested,
    Tracks,
)
from shared.events.ticket import Requester, TicketCreated, TicketRestricted
from shared.events.topics import AGENT, ROUTING, Topic
from shared.vocabulary import Category, IncidentClass, Severity, TicketId

KINDS: Mapping[type[Event], signal.Kind] = MappingProxyType(
    {
        agent.SafetyCrisisDetected: signal.CRISIS_DETECTED,
        agent.SafetyMandatoryReportTriggered: signal.REPORT_TRIGGERED,
        agent.SafetyMandatoryReportGenerated: signal.REPORT_GENERATED,
        agent.SafetyMandatoryReportSubmitted: signal.REPORT_SUBMITTED,
        agent.SafetyMandatoryReportAccepted: signal.REPORT_ACCEPTED,
        agent.SafetyMandatoryReportFailed: signal.REPORT_FAILED,
        agent.SafetyModerationConcern: signal.MODERATION_CONCERN,
        agent.SafetyPrivacyConcern: signal.PRIVACY_CONCERN,
        agent.SafetyCoppaConcern: signal.COPPA_CONCERN,
        agent.SafetyIncidentUpdated: signal.INCIDENT_UPDATED,
    }
)
"""What each type of the agent's events says by itself."""
OPENED_BY = {IdentityKind.AGENT: "S3", IdentityKind.TICKET: "S8", IdentityKind.UNREADABLE: "S6"}
RESTRICTED_TICKET_DIGITS = 10


def on_agent_signal(message: Received[AgentEvent], unit: SafetyUnit) -> None:
    """Whatever comes on the agent's topic opens or updates an incident; a flag does so for its ticket (S3, S6, S8)."""
    _receive(_understood(message, unit), identities_of(message), unit)


def is_routed_to_safety(event: RoutingAssigned) -> bool:
    """Of all that the router decides, only safety tickets concern the bridge (S8)."""
    return event.category is Category.SAFETY


def on_routing_assigned(message: Received[RoutingAssigned], unit: SafetyUnit) -> None:
    """A ticket routed to safety has an incident, unless the ticket is the restricted one of an incident (S8, S9)."""
    for name in identities_of(message):
        known = unit.incidents.find(name)
        if known is None or not known.has_restricted_ticket or known.ticket_id != name.name:
            _receive(_understood(message, unit), (name,), unit)


def on_unreadable(record: Record, code: DeadLetterCode, unit: SafetyUnit) -> None:
    """Nothing on the agent's topic is only a dead letter: what cannot be read is an incident of its producer (S6).

    A second body under a known id can be read: what it raises is raised. The record's bytes stay where they are.
    """
    message = _readable(record, AGENT) if code is DeadLetterCode.ID_CONFLICT else None
    if message is None:
        _receive_unreadable(record, unit)
    elif type(message.event) is not SafetyAgentHeartbeat:
        names, heard = identities_of(message), signal.conflicting(_understood(message, unit))
        unit.after_loading(names, lambda: _receive(heard, names, unit))


def on_unhandled_routing(record: Record, code: DeadLetterCode, unit: SafetyUnit) -> None:  # noqa: ARG001
    """A routed safety ticket that could not be handled is not only a dead letter either (S6)."""
    message = _readable(record, ROUTING)
    if message is not None and identities_of(message):
        _receive_unreadable(record, unit)


def acknowledge_incident(known: Incident, unit: SafetyUnit, *, epoch: int, actor_id: str, actor_role: str) -> Incident:
    """A person takes the incident as it stands in this epoch (S4)."""
    after = acknowledge(known, epoch=epoch, role=actor_role, actor_id=actor_id, now=unit.now, policy=unit.policy)
    if after is known:
        return known
    role = after.acknowledgements[-1].role
    after = _tell(SafetyIncidentAcknowledged, after, unit, "S4", actor_id=actor_id, actor_role=role)
    unit.incidents.save(after)
    return after


def raise_incident(
    known: Incident,
    unit: SafetyUnit,
    *,
    epoch: int,
    severity: Severity | None,
    incident_class: IncidentClass | None,
    actor_id: str,
    actor_role: str,
) -> Incident:
    """A person makes the incident more severe or adds a class; what it is already changes nothing (S1)."""
    after = raise_by_person(
        known, epoch=epoch, severity=severity, incident_class=incident_class, now=unit.now, policy=unit.policy
    )
    return _keep(known, after, unit, actor_id=actor_id, actor_role=actor_role)


def page(due: Incident, unit: SafetyUnit) -> Incident:
    """Ask for the page that is due now, if one is, and keep when the next one will be (S4)."""
    after, wanted = paging.next_page(due, now=unit.now, reachable=unit.reachable, policy=unit.policy)
    if wanted is not None:
        unit.emit(
            SafetyPageRequested(
                incident_ref=after.ref,
                occurred_at=unit.now,
                emitted_at=unit.now,
                clauses=("S4",),
                policy_version=unit.policy.version,
                mode=after.mode,
                epoch=after.epoch,
                step=wanted.step,
                repeat=wanted.repeat,
                lane=wanted.lane,
                severity_working=after.severity_working.word,
                roles=wanted.roles,
                late_by_seconds=wanted.late_by.total_seconds(),
            ),
            occurred_at=unit.now,
            seed=f"{after.ref}|{after.epoch}|{wanted.step}|{wanted.repeat}",
            correlation_id=after.ref,
        )
    unit.incidents.save(after)
    return after


def shown(one: Incident) -> dict[str, Any]:
    """An incident as its events and its API show it: codes and ids (S5)."""
    facts = one.facts
    return {
        "incident_ref": one.ref,
        "agent_incident_id": min(facts.agent_incident_ids, default=None),
        "ticket_id": one.ticket_id,
        "mode": one.mode.value,
        "epoch": one.epoch,
        "severity_working": one.severity_working.word,
        "severity_peak": facts.severity.word,
        "classes": tuple(sorted(facts.classes)),
        "responses": tuple(sorted(facts.responses)),
        "tracks": Tracks(
            handling=one.handling_track,
            report=facts.report.word,
            guardian=one.guardian_track,
            intervention="none",
        ),
        "flags": tuple(sorted(flag.value for flag in facts.flags)),
    }


def _understood(message: Received[Any], unit: SafetyUnit) -> Signal:
    event, envelope = message.event, message.envelope
    match event:
        case SafetyUnreadable():
            return signal.unreadable(occurred_at=envelope.occurred_at, received_at=unit.now)
        case SafetyTicketFlagged() | RoutingAssigned():
            heard = signal.of_safety_ticket(
                event.subcategory, occurred_at=envelope.occurred_at, received_at=unit.now, policy=unit.policy
            )
            is_new_word = isinstance(event, SafetyTicketFlagged)
            return replace(heard, asks_again=True) if is_new_word else heard  # each flag is another cry
    return signal.understand(
        event,
        KINDS[type(event)],
        occurred_at=envelope.occurred_at,
        received_at=unit.now,
        is_clamped=envelope.claimed_at is not None,
    )


def _receive(heard: Signal, names: Sequence[Identity], unit: SafetyUnit) -> None:
    """Open the incident, or merge into the one that has one of these names; two that meet become one (S8)."""
    known, others = _known(names, unit)
    if known is None:
        _open(heard, names, unit)
        return
    if names[0].kind is IdentityKind.AGENT and known.facts.agent_incident_ids and unit.incidents.find(names[0]) is None:
        heard = replace(heard, asks_again=True)  # a second matter of the agent's must not pass for one already taken
    after = merge(known, heard, now=unit.now, policy=unit.policy)
    for other in others:
        after, gone = absorb(after, other, now=unit.now, policy=unit.policy)
        unit.incidents.hand_over(gone, after)
        unit.incidents.save(_tell(SafetyIncidentUpdated, gone, unit, "S8", reason_code="merged"))
    _keep(known, after, unit, names)


def _known(names: Sequence[Identity], unit: SafetyUnit) -> tuple[Incident | None, list[Incident]]:
    """The incident these names belong to, and those that turn out to be the same matter.

    The incident of a ticket named goes before the agent's own; an incident that was born of a ticket stays its own (S8).
    """
    found = {one.ref: one for name in reversed(names) if (one := unit.incidents.find(name)) is not None}
    if not found:
        return None, []
    *others, last = found.values()
    if others and last.is_born_of_ticket:
        return last, []
    return (others[0], [last]) if others else (last, [])


def _open(heard: Signal, names: Sequence[Identity], unit: SafetyUnit) -> None:
    """An incident that no ticket gave birth to gets a restricted one; a drill gets none (S9)."""
    born_as = names[0]
    is_born_of_ticket = born_as.kind is IdentityKind.TICKET
    ticket_id = TicketId(born_as.name or "") if is_born_of_ticket else None
    if not is_born_of_ticket and born_as.mode is Mode.LIVE:
        ticket_id = _new_ticket_id()
        names = (*names, identity.of_ticket(ticket_id))
    opened = open_incident(
        unit.incidents.free_reference(born_as),
        born_as.mode,
        heard,
        ticket_id=ticket_id,
        is_born_of_ticket=is_born_of_ticket,
        now=unit.now,
        policy=unit.policy,
    )
    unit.incidents.save(opened, names)
    page(_tell(SafetyIncidentOpened, opened, unit, OPENED_BY[born_as.kind]), unit)
    if ticket_id is not None and not is_born_of_ticket:
        _open_restricted_ticket(ticket_id, unit)


def _keep(
    before: Incident, after: Incident, unit: SafetyUnit, names: Sequence[Identity] = (), **actor: str
) -> Incident:
    """Tell what has changed, keep it, and page at once if the news is worse."""
    if after.epoch > before.epoch:
        after = _tell(SafetyIncidentRaised, after, unit, "S1", reason_code=_why(before, after), **actor)
    elif shown(after) != shown(before):
        after = _tell(SafetyIncidentUpdated, after, unit, "S1", **actor)
    unit.incidents.save(after, names)
    return page(after, unit)


def _tell(event: type[IncidentEvent], one: Incident, unit: SafetyUnit, clause: str, **because: str) -> Incident:
    """Emit what the incident is now; the one returned remembers that it was told."""
    told = replace(one, revision=one.revision + 1)
    unit.emit(
        event(
            **shown(told),
            **because,
            occurred_at=unit.now,
            emitted_at=unit.now,
            clauses=(clause,),
            policy_version=unit.policy.version,
        ),
        occurred_at=unit.now,
        seed=f"{told.ref}|{told.revision}",
        correlation_id=told.ref,
    )
    return told


def _why(before: Incident, after: Incident) -> str:
    if after.facts.severity > before.facts.severity:
        return "severity_rose"
    return "class_added" if after.facts.classes > before.facts.classes else "asked_again"


def _open_restricted_ticket(ticket_id: TicketId, unit: SafetyUnit) -> None:
    """A ticket that says nothing: the same words for every matter, and no id by which it could be traced to one (S9)."""
    unit.because_of(None)
    created = TicketCreated(
        ticket_id=ticket_id,
        subject="Safety matter",
        body="",
        channel="safety",
        requester=Requester(id="safety"),
        category=Category.SAFETY.value,
    )
    for event in (created, TicketRestricted(ticket_id=ticket_id)):
        unit.emit(event, occurred_at=unit.now, seed=ticket_id, correlation_id=ticket_id)


def _new_ticket_id() -> TicketId:
    """Drawn, not derived: whoever can guess an incident's id must not be able to compute its ticket's (S9)."""
    return TicketId("SR-" + "".join(secrets.choice(CROCKFORD) for _ in range(RESTRICTED_TICKET_DIGITS)))


def _receive_unreadable(record: Record, unit: SafetyUnit) -> None:
    names = (identity.of_unreadable(_producer_of(record)),)
    heard = signal.unreadable(occurred_at=record.timestamp, received_at=unit.now)
    unit.after_loading(names, lambda: _receive(heard, names, unit))


def _readable(record: Record, topic: Topic) -> Received[Event] | None:
    try:
        return decode(record, topic.types)
    except InvalidMessage:
        return None


def _producer_of(record: Record) -> str:
    """Who wrote a record that cannot be read: its source where it has one, else its key."""
    try:
        said = dict(record.headers).get("ce_source", b"").decode() or parse_json(record.value)["source"]
    except (InvalidMessage, UnicodeDecodeError, KeyError, TypeError):
        said = None
    return identity.fit_id(said) or f"{record.topic} {record.key.hex()}"
