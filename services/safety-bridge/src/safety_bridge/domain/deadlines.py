"""The clocks of an incident: what each class promises, and what a look at them tells (S3, S4)."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from safety_bridge.domain import paging
from safety_bridge.domain.clock import Clock, Notice, Promise, Step
from safety_bridge.domain.incident import Incident
from safety_bridge.domain.tracks import Handling, InterventionTrack, ReportTrack
from shared.policy.model import Policy
from shared.vocabulary import IncidentClass


def look(incident: Incident, *, now: datetime, policy: Policy) -> tuple[Incident, list[tuple[Clock, Notice]]]:
    """The incident after a look at its clocks at `now`, and all that was not told yet, each with its true time (S4)."""
    running = {clock.key: clock for clock in incident.clocks}
    told: list[tuple[Clock, Notice]] = []
    for promised in _promised(incident, policy):
        before = running.get(promised.key)
        clock = before.tightened(promised.started_at, promised.due_at) if before else promised
        if before is None or clock.due_at < before.due_at:
            told.append((clock, Notice(Step.STARTED, clock.started_at, 0)))
        outcome_at = _outcome_at(clock, incident, now)
        clock, notices = clock.look(now, outcome_at=outcome_at, warn_at=policy.safety.warn_at_percent)
        told += [(clock, notice) for notice in notices]
        running[clock.key] = clock
    return replace(incident, clocks=tuple(running.values())), told


def next_look_at(incident: Incident, policy: Policy) -> datetime | None:
    """When something is due next: a page, a threshold, the end of a lease, a restricted ticket. None: nothing ever is."""
    if incident.continues_in is not None:
        return None
    thresholds = [clock.next_at(policy.safety.warn_at_percent) for clock in incident.clocks]
    insistence = paging.next_insistence_at(incident, policy)
    wanted = (incident.next_page_at, incident.lease_ends_at, incident.ticket_due_at, insistence, *thresholds)
    return min((at for at in wanted if at is not None), default=None)


def _promised(incident: Incident, policy: Policy) -> Iterator[Clock]:
    numbers = policy.safety
    for one, since in sorted(incident.facts.since.items()):
        for promise, within in (
            (Promise.ACKNOWLEDGE, numbers.acknowledge_within_minutes[one]),
            (Promise.OUTCOME, numbers.outcome_within_minutes[one]),
        ):
            yield Clock(promise, one, since, since + timedelta(minutes=within))
    if (handed_off_at := incident.facts.handed_off_at) is not None:
        due_at = handed_off_at + timedelta(minutes=numbers.confirm_hand_off_within_minutes)
        yield Clock(Promise.CONFIRMATION, None, handed_off_at, due_at)


def _outcome_at(clock: Clock, incident: Incident, now: datetime) -> datetime | None:
    """When what was promised has happened: acknowledged by all, a receipt, a confirmation, a disposition (S4)."""
    facts = incident.facts
    is_over = incident.handling is Handling.CLOSED
    if clock.promise is Promise.ACKNOWLEDGE:
        return now if incident.handling is not Handling.PAGING else None
    if clock.incident_class is IncidentClass.MANDATORY_REPORT:
        is_accepted = facts.report is ReportTrack.ACCEPTED
        return (facts.accepted_at or now) if is_accepted else now if incident.report_closed_for else None
    if clock.promise is Promise.CONFIRMATION or clock.incident_class is IncidentClass.CRISIS:
        is_confirmed = facts.intervention is InterventionTrack.CONFIRMED
        if is_confirmed:
            return facts.confirmed_at or now
        is_ended = incident.intervention_ended_for is not None
        return now if is_ended or (is_over and clock.promise is Promise.OUTCOME) else None
    return now if is_over else None
