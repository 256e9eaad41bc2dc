"""What the notifier does about each event and command: load, decide, save, emit."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from notifier.domain import audience
from notifier.domain.desk import RESTRICTED
from notifier.domain.gate import TextStopped
from notifier.domain.notification import (
    GO,
    OPEN,
    Alarm,
    Audience,
    Channel,
    FactsMissing,
    Intent,
    Notification,
    NotResendable,
    NotShown,
    Reason,
    State,
    Template,
    Verdict,
    Way,
)
from notifier.domain.retry import may_reach
from notifier.domain.roll_up import LIVE, WARNINGS, Stream
from notifier.domain.templates import BadTemplate, Words
from notifier.domain.ticket import RESOLVED_AT, Cause, Customer, Occasion, Routing, Ticket, Trigger
from notifier.store import NotifierUnit, is_of_customer
from shared.errors import UnknownTicket
from shared.events.envelope import SAFETY_BRIDGE, Event, Received, derived_id
from shared.events.notification import (
    NotificationEvent,
    NotificationExpired,
    NotificationFailed,
    NotificationHeld,
    NotificationPagingDegraded,
    NotificationPagingRestored,
    NotificationQueued,
    NotificationSent,
    NotificationSuperseded,
    NotificationSuppressed,
)
from shared.events.routing import RoutingAssigned, RoutingDeescalated, RoutingEscalated, RoutingRefused
from shared.events.safety import HAND_OVER, SafetyIncidentAcknowledged, SafetyPageRequested, WatchEvent
from shared.events.sla import SlaBreached, SlaCorrected, SlaEvent, SlaWarning
from shared.events.ticket import (
    PersonKind,
    TicketClosed,
    TicketCreated,
    TicketMessageAdded,
    TicketReopened,
    TicketResolved,
    TicketRestricted,
)
from shared.vocabulary import Hint

ACKNOWLEDGED = "acknowledged"
"""How the handling of an incident stands once every role that has to has acknowledged it."""

MERGED_IN_A_CIRCLE = "merged_in_a_circle"
"""Why the router refuses a merge (HD-30)."""

_OF_MACHINES = (Hint.MACHINE_MAIL, Hint.LOOP)

NOBODY = (Way("nobody", Channel.EMAIL, Channel.EMAIL),)
"""Where a page goes that found nobody on duty."""

_EVENT_OF: Mapping[State, type[NotificationEvent]] = {
    State.QUEUED: NotificationQueued,
    State.SENT: NotificationSent,
    State.FAILED: NotificationFailed,
    State.HELD: NotificationHeld,
    State.SUPPRESSED: NotificationSuppressed,
    State.SUPERSEDED: NotificationSuperseded,
    State.EXPIRED: NotificationExpired,
}


def on_ticket_created(message: Received[TicketCreated], unit: NotifierUnit) -> None:
    """The customer becomes known; what waited for that goes out (T3)."""
    event = message.event
    customer = Customer(
        name=event.requester.name,
        email=event.requester.email,
        number=event.number,
        character=event.ip.character if event.ip else None,
        owner=event.ip.owner if event.ip else None,
        locale=event.requester.locale,
    )
    _tell_customer(unit.tickets.get(event.ticket_id).created(customer), unit)


def on_ticket_resolved(message: Received[TicketResolved], unit: NotifierUnit) -> None:
    """The customer is told; what the resolution reports completes the texts that wait for it (T2)."""
    event = message.event
    before = _created(event.ticket_id, unit)
    _supersede_resolution(event.ticket_id, unit)
    facts = {"resolution_details": event.summary, RESOLVED_AT: message.occurred_at.isoformat()}
    if event.by.kind is PersonKind.AGENT and event.by.name:
        facts["agent_name"] = event.by.name
    held = [one for one in unit.notifications.open_of(event.ticket_id) if one.reason == Reason.MISSING_FACTS]
    occasion = Occasion(Trigger.RESOLVED, _cause(message, message.envelope.identity.hex()), facts)
    _tell_customer(before.resolved(occasion, event.facts, at=message.occurred_at), unit)
    for notification in held:
        _look_again(notification, unit)


def on_ticket_reopened(message: Received[TicketReopened], unit: NotifierUnit) -> None:
    """What said that the matter is settled is no longer true."""
    _reopen(_created(message.event.ticket_id, unit), message.occurred_at, unit)


def on_ticket_message_added(message: Received[TicketMessageAdded], unit: NotifierUnit) -> None:
    """A customer's message on a resolved ticket reopens it (L12)."""
    if is_of_customer(message.event):
        _reopen(_created(message.event.ticket_id, unit), message.occurred_at, unit)


def on_ticket_closed(message: Received[TicketClosed], unit: NotifierUnit) -> None:
    """Nobody is written to any more about spam, duplicates and what was withdrawn; safety tickets do not close so (S1)."""
    ticket = _created(message.event.ticket_id, unit)
    if ticket.is_safety or ticket.stays_open == message.id:
        return
    unit.tickets.save(replace(ticket, closed=True))
    for notification in unit.notifications.open_of(ticket.id):
        if notification.intent.audience is Audience.CUSTOMER:
            _change(notification.superseded(Reason.TICKET_CLOSED), unit)


def on_ticket_restricted(message: Received[TicketRestricted], unit: NotifierUnit) -> None:
    """The safety-bridge's mark; from anyone else it is ignored (S9)."""
    if message.envelope.source == SAFETY_BRIDGE:
        unit.tickets.save(replace(unit.tickets.get(message.event.ticket_id), restricted=True))


def on_routing_assigned(message: Received[RoutingAssigned], unit: NotifierUnit) -> None:
    """The team is told; the first decision also lets the customer be written to (R8, T3, T4).

    That somebody of the team took the ticket is no news to the team.
    """
    event = message.event
    cause = _cause(message, event.decision_id)
    routing = Routing(event.category, event.subcategory, event.team, event.owning_team, event.level)
    before = unit.tickets.get(event.ticket_id)
    ticket = before.routed(routing, restricted=event.restricted, first=event.replaces is None, cause=cause)
    ticket = replace(
        ticket,
        also_notified=event.also_notified,
        written_by_machine=any(one.hint in _OF_MACHINES for one in event.suggestions),
    )
    if (before.routing, before.also_notified, before.restricted) != (routing, event.also_notified, ticket.restricted):
        _tell(audience.assigned(ticket, event.also_notified, cause), ticket, unit)
    _tell_customer(ticket, unit)


def on_routing_escalated(message: Received[RoutingEscalated], unit: NotifierUnit) -> None:
    """Customer and team are told who has the ticket now, and why (T1, R8)."""
    event = message.event
    cause = _cause(message, event.decision_id)
    ticket = _moved(event, cause, unit)
    _tell(audience.escalated(ticket, event.also_notified, event.criterion, cause), ticket, unit)
    facts = {"team": event.team.value, "criterion": event.criterion.value}
    _tell_customer(ticket.on(Occasion(Trigger.ESCALATED, cause, facts)), unit)


def on_routing_deescalated(message: Received[RoutingDeescalated], unit: NotifierUnit) -> None:
    """The team that has the ticket again is told (R8)."""
    cause = _cause(message, message.event.decision_id)
    ticket = _moved(message.event, cause, unit)
    unit.tickets.save(ticket)
    _tell(audience.assigned(ticket, (), cause), ticket, unit)


def on_routing_refused(message: Received[RoutingRefused], unit: NotifierUnit) -> None:
    """Of what was refused one thing is told: a ticket that stays open because merges ran in a circle (HD-30)."""
    event = message.event
    if event.reason_code == MERGED_IN_A_CIRCLE:
        ticket = replace(unit.tickets.get(event.ticket_id), closed=False, stays_open=event.request_id)
        unit.tickets.save(ticket)
        triage = unit.desk.policy.routing.triage.team
        _tell(audience.merged_in_a_circle(ticket, triage, _cause(message, event.request_id)), ticket, unit)


def on_sla_warning(message: Received[SlaWarning], unit: NotifierUnit) -> None:
    """The team is told that a target is coming near (L10): by itself, or with others where there are many, and together at the
    next opening where it comes outside the notify hours (T6).
    """
    event = message.event
    on_clock_moved(message, unit)
    ticket = unit.tickets.get(event.ticket_id)
    share = event.elapsed_share if event.threshold is None else event.threshold
    alarm = Alarm(event.milestone, event.cycle, message.id, share)
    cause = _cause(message, message.id)
    told = audience.warned(ticket, unit.team_of(ticket), alarm, due_at=event.due_at, share=share, cause=cause)
    _tell(told, ticket, unit)


def on_clock_moved(message: Received[SlaEvent], unit: NotifierUnit) -> None:
    """A warning that has not gone out has nothing to say any more once more is told of its clock (L10, T6)."""
    event = message.event
    for notification in unit.notifications.open_of(event.ticket_id):
        alarm = notification.intent.alarm
        if audience.is_warning_of(alarm, event.milestone, event.cycle) and alarm.event_id != message.id:
            _change(notification.superseded(Reason.OUTDATED), unit)


def on_sla_breached(message: Received[SlaBreached], unit: NotifierUnit) -> None:
    """Team and lead are told at once that a target was missed (T6)."""
    event = message.event
    on_clock_moved(message, unit)
    ticket = unit.tickets.get(event.ticket_id)
    cause = _cause(message, message.id)
    alarm = Alarm(event.milestone, event.cycle, message.id)
    _tell(audience.breached(ticket, unit.team_of(ticket), alarm, due_at=event.due_at, cause=cause), ticket, unit)


def on_sla_corrected(message: Received[SlaCorrected], unit: NotifierUnit) -> None:
    """What was said of a clock and does not hold any more is not sent, and who was told is told so (L13, HD-65)."""
    event = message.event
    clock = audience.CorrectedClock(
        milestone=event.milestone,
        cycle=event.cycle,
        state=event.state,
        at=message.occurred_at,
        due_at=event.due_at,
        is_due_otherwise=event.previous_due_at is not None,
        share=event.elapsed_share,
        withdrawn=event.caused_by,
    )
    withdrawn = [one for one in unit.notifications.of(event.ticket_id) if clock.withdraws(one.intent.alarm)]
    ticket = unit.tickets.get(event.ticket_id)
    _tell(audience.corrected(ticket, withdrawn, clock, _cause(message, message.id)), ticket, unit)
    for notification in withdrawn:
        if notification.state in (*OPEN, State.FAILED):  # nor is that to be sent again
            _change(notification.superseded(Reason.OUTDATED), unit)


def on_page_requested(message: Received[SafetyPageRequested], unit: NotifierUnit) -> None:
    """Everybody on duty in these roles is paged now, and these persons; a page still under way to one of them gives way to
    the newer (S4). Whoever has had too many of this lane in the last minutes gets them together (4.8).
    """
    event = message.event
    ways = unit.ways_of(event)
    outlives = event.outlives_acknowledgement
    intents = audience.pages(
        event.incident_ref,
        ways or NOBODY,
        epoch=None if outlives else event.epoch,
        of=event.reason_code if outlives else _ladder(event),
        step=event.step,
        repeat=event.repeat,
        severity=event.severity_working,
        lane=event.lane,
        mode=event.mode,
        paged_at=message.occurred_at,
        is_hand_over=event.reason_code == HAND_OVER,
        correlation_id=_cause(message, message.id).correlation_id,
    )
    verdict = GO if ways else Verdict(State.FAILED, Reason.NOBODY_ON_DUTY)
    for intent in intents:
        page = _decided(intent, None, verdict, unit)
        for older in audience.overtaken(unit.notifications.open_of(event.incident_ref), page):
            _change(older, unit)
        _add_at_its_pace(page, unit)


def _ladder(event: SafetyPageRequested) -> str:
    """The ladder of the epoch; at a hand-over a page beside its steps."""
    return f"{event.epoch}|{event.on_duty_since}" if event.reason_code == HAND_OVER else str(event.epoch)


def on_watch_event(message: Received[WatchEvent], unit: NotifierUnit) -> None:
    """Whoever looks after the watch is told that a feed is silent, a storm has begun, a step was empty (S4)."""
    event = message.event
    notice = event.wire_type.rsplit(".", 2)[1]
    _notice(notice, event.about, event.roles, message.occurred_at, _cause(message, message.id), unit)


def on_incident_acknowledged(message: Received[SafetyIncidentAcknowledged], unit: NotifierUnit) -> None:
    """Once everybody who must has acknowledged, pages of that epoch are not tried any more (S4)."""
    event = message.event
    if event.tracks.handling != ACKNOWLEDGED:
        return
    for page in unit.notifications.open_of(event.incident_ref):
        if page.intent.epoch is not None and page.intent.epoch <= event.epoch:
            _change(page.superseded(Reason.ACKNOWLEDGED), unit)


def stand_in_candidates(page: Notification, unit: NotifierUnit) -> dict[str, tuple[Way, ...]]:
    """Whoever may be told of a page in place of its recipient, who stands first, and every way to them."""
    people = dict.fromkeys([page.intent.recipient, *unit.desk.stand_ins(unit.now)])
    return {person: unit.desk.ways_to(person) for person in people if person != RESTRICTED}


def pages_on(ways: Iterable[Way], page: Notification) -> list[str]:
    """The ids that the page has on these ways: each person has one on each, whoever is told in whose place."""
    return [id_of(audience.redirected(page.intent, way)) for way in ways]


def on_unreached(page: Notification, unit: NotifierUnit) -> None:
    """A page has not reached its recipient: unless another way may, or somebody stands in for them already, the next person on
    duty who knows nothing of it is told as well (invariant 27); and where that one can only be reached by the same destination,
    the next who can be by another, so that no provider that is down is waited for person by person (invariant 17).
    """
    recipient = page.intent.recipient
    known = {
        person: [one for one in map(unit.notifications.find, pages_on(ways, page)) if one is not None]
        for person, ways in stand_in_candidates(page, unit).items()
    }
    others = (
        one for person, pages in known.items() for one in pages if one.id != page.id and _speaks_for(recipient, one)
    )
    if recipient == RESTRICTED or any(may_reach(one, unit.now) for one in others):
        return
    told: list[Intent] = []
    for person in (person for person, pages in known.items() if not pages):
        intents = [
            replace(audience.redirected(page.intent, way), stands_in_for=recipient) for way in unit.desk.ways_to(person)
        ]
        is_elsewhere = any(unit.desk.destination(intent) != page.destination for intent in intents)
        if not told or is_elsewhere:
            told += intents
        if is_elsewhere:
            break
    for intent in told:
        _add_at_its_pace(_decided(intent, None, GO, unit), unit)


def _speaks_for(recipient: str, page: Notification) -> bool:
    return recipient in (page.intent.recipient, page.intent.stands_in_for)


def on_destination_gone(notification: Notification, unit: NotifierUnit) -> None:
    """Whoever looks after the watch is told, once, that a destination takes nothing any more (SN-13, SN-51)."""
    cause = Cause(f"{notification.destination}|{unit.now.isoformat()}", notification.intent.correlation_id)
    about = f"{notification.intent.channel}, {notification.intent.recipient}"
    _notice("destination_disabled", about, unit.desk.policy.safety.watch.roles, unit.now, cause, unit)


def on_paging_degraded(since: datetime, unit: NotifierUnit) -> None:
    """Pages reach nobody: said on the topic, and to whoever looks after the watch, as soon as anything goes out (SN-14)."""
    _of_paging(NotificationPagingDegraded, since, unit)


def on_paging_restored(since: datetime, unit: NotifierUnit) -> None:
    """Pages reach people again (SN-14)."""
    _of_paging(NotificationPagingRestored, since, unit)


def _of_paging(
    event_class: type[NotificationPagingDegraded | NotificationPagingRestored], since: datetime, unit: NotifierUnit
) -> None:
    event = event_class(
        occurred_at=unit.now,
        emitted_at=unit.now,
        clauses=("S4",),
        policy_version=unit.desk.policy.version,
        since=since,
        lasted_seconds=(unit.now - since).total_seconds(),
    )
    seed = f"{since.isoformat()}|{unit.now.isoformat()}"
    event_id = unit.emit(event, occurred_at=unit.now, seed=seed)
    notice = event.wire_type.rsplit(".", 2)[1]
    _notice(notice, "notifier", unit.desk.policy.safety.watch.roles, unit.now, Cause(event_id, event_id), unit)


def complete(notification: Notification, facts: Mapping[str, str | bool], by: str, unit: NotifierUnit) -> Notification:
    """A person supplies facts that a message waits for; with all of them it goes out (T2).

    Raises:
        NotHeld, NotMissing: as for `Notification.supplied`.
    """
    return _look_again(notification.supplied(facts, by=by), unit)


def release(notification: Notification, by: str, unit: NotifierUnit) -> Notification:
    """A person lets a message go out that was suppressed for safety (T3), or that may have arrived already.

    Raises:
        NotHeld, FactsMissing: as for `Notification.released_by`.
    """
    released = notification.released_by(by)
    if notification.reason in (
        Reason.UNRENDERABLE,
        Reason.CONFIDENTIAL,
    ):  # its own text cannot be sent: the mended one is
        ticket = unit.tickets.get(notification.intent.ticket_id or "")
        released = replace(released, intent=unit.desk.worded(released.intent, ticket))
    return _look_again(released, unit)


def ask_later(text: Notification, unit: NotifierUnit) -> None:
    """Once the text of a resolution has gone out, its customer is asked later whether the matter is solved (T5)."""
    rule = unit.desk.policy.notices.follow_up
    intent = audience.follow_up(text.intent)
    if intent is None or not rule.enabled or unit.notifications.find(id_of(intent)) is not None:
        return
    ticket = unit.tickets.get(text.intent.ticket_id or "")
    verdict = unit.desk.verdict(intent, ticket, now=unit.now)
    if verdict == GO:
        at = unit.desk.hours.after_business_days(unit.now, rule.after_business_days)
        _add(replace(_decided(intent, ticket, verdict, unit), next_look_at=at), unit)


def tell_of_loop(notification: Notification, ticket: Ticket, unit: NotifierUnit) -> None:
    """Those who triage are told that its requester gets no more messages by themselves for a while (HD-63)."""
    cause = Cause(notification.id, notification.intent.correlation_id)
    _tell(audience.loop_cut(ticket, unit.desk.policy.routing.triage.team, cause), ticket, unit)


def resent(notification: Notification, key: str, by: str, unit: NotifierUnit) -> Notification:
    """What sending it once more makes, or has made already for the same key, also of another try at the same; nothing is
    kept yet.

    Raises:
        NotResendable: as for `Notification.again`, or what it says no longer holds or may not be said.
    """
    intent = notification.again(key)
    if (known := unit.notifications.find(id_of(intent))) is not None:
        return known
    ticket, released = unit.tickets.get(intent.ticket_id or ""), notification.released
    verdict = unit.desk.verdict(intent, ticket, released=released, now=unit.now)
    if verdict != GO:
        raise NotResendable(verdict.reason)
    return replace(_decided(intent, ticket, verdict, unit), released=released, decided_by=by, resend_of=notification.id)


def resend(notification: Notification, key: str, by: str, unit: NotifierUnit) -> Notification:
    """A person sends it once more (T3).

    Raises:
        NotResendable: as for `resent`.
    """
    once_more = resent(notification, key, by, unit)
    if unit.notifications.find(once_more.id) is None:
        _add(once_more, unit)
    return once_more


def id_again(notification: Notification, key: str) -> str | None:
    """Under which id it would be sent once more; None where it cannot be."""
    with suppress(NotResendable):
        return id_of(notification.again(key))
    return None


def text_of(notification: Notification, unit: NotifierUnit) -> Words:
    """What it says, by the facts that are known now.

    Raises:
        NotShown: nobody else may read it (S5).
        FactsMissing: it cannot be written yet (T2).
    """
    intent = notification.intent
    ticket = unit.tickets.get(intent.ticket_id) if intent.ticket_id else None
    if intent.audience is Audience.CUSTOMER and ticket is not None and ticket.is_safety:
        raise NotShown
    if notification.is_uncounted or unit.desk.missing(intent, ticket):
        raise FactsMissing
    try:
        return unit.desk.words(intent, ticket, released=notification.released)
    except (TextStopped, BadTemplate):
        raise NotShown from None


def id_of(intent: Intent) -> str:
    """The id of the one notification of this intent."""
    return derived_id("notifier", intent.place, *intent.identity)


def announce(notification: Notification, unit: NotifierUnit, *, late_by: timedelta | None = None) -> None:
    """Say on `support.notification.v1` what has become of it: codes and references only (S5)."""
    intent = notification.intent
    unit.emit(
        _EVENT_OF[notification.state](
            notification_id=notification.id,
            ticket_id=intent.ticket_id,
            incident_ref=intent.incident_ref,
            occurred_at=unit.now,
            emitted_at=unit.now,
            clauses=intent.clauses,
            policy_version=unit.desk.policy.version,
            channel=intent.channel,
            template=intent.template,
            audience=intent.audience,
            attempt=notification.attempts,
            missing=notification.missing,
            edition=intent.wording.edition if intent.wording else None,
            covered_by=notification.covered_by,
            reason_code=notification.reason,
            late_by_seconds=late_by.total_seconds() if late_by is not None else None,
            resend_of=notification.resend_of,
        ),
        occurred_at=unit.now,
        seed=f"{notification.id}|{notification.state}|{notification.attempts}|{unit.now.isoformat()}",
        correlation_id=intent.correlation_id,
    )


def _tell_customer(ticket: Ticket, unit: NotifierUnit) -> None:
    """Keep the ticket and turn what waits on it into messages, if it is time for them (T3)."""
    ticket, intents = audience.customer_intents(ticket)
    unit.tickets.save(ticket)
    _tell(intents, ticket, unit)


def _tell(intents: Iterable[Intent], ticket: Ticket, unit: NotifierUnit) -> None:
    for intent in (one for told in intents for one in unit.desk.on_every_channel(told)):
        _add_at_its_pace(_decided(intent, ticket, unit.desk.verdict(intent, ticket, now=unit.now), unit), unit)


def _decided(intent: Intent, ticket: Ticket | None, verdict: Verdict, unit: NotifierUnit) -> Notification:
    """What was decided, and in which words it is told (HD-67, HD-68)."""
    return Notification.of(id_of(intent), unit.desk.worded(intent, ticket), verdict, unit.now)


def _notice(notice: str, about: str, roles: Iterable[str], at: datetime, cause: Cause, unit: NotifierUnit) -> None:
    people = dict.fromkeys(person.id for role in roles for person in unit.desk.directory.on_duty(role, unit.now))
    ways = [way for person in people for way in unit.desk.ways_to(person)]
    verdict = GO if ways else Verdict(State.FAILED, Reason.NOBODY_ON_DUTY)
    for intent in audience.watch_notices(ways or NOBODY, notice=notice, about=about, noticed_at=at, cause=cause):
        _add(_decided(intent, None, verdict, unit), unit)


def streams_of(message: Notification, ways: Iterable[Way]) -> list[Stream]:
    """What is counted of a page or a warning on these ways; nothing else is one of too many."""
    facts = message.intent.facts
    match message.intent.template:
        case Template.PAGE:
            lane, mode = facts["lane"], facts["mode"]
        case Template.SLA_WARNING:
            lane, mode = WARNINGS, LIVE
        case _:
            return []
    return [Stream(way.recipient, lane, mode, way.name) for way in ways]


def _add_at_its_pace(message: Notification, unit: NotifierUnit) -> None:
    """Keep it, to go out by itself or together with others where it is one of too many (4.8)."""
    if message.state is State.QUEUED and unit.notifications.find(message.id) is None:
        message = _paced(message, unit)
    _add(message, unit)


def _paced(page: Notification, unit: NotifierUnit) -> Notification:
    """The message, to go out by itself or with the roll-up of its stream, which is made with the first that waits (4.8)."""
    streams = streams_of(page, [Way(page.intent.recipient, page.intent.channel, page.intent.place)])
    if not streams:
        return page
    stream = streams[0]
    before = unit.paces.get(stream)
    opening = unit.desk.hours.opening(page.intent.template, unit.now)
    pace = before.paged(unit.now) if opening <= unit.now else before.put_off(opening)
    unit.paces.save(pace)
    if pace.roll_up_at is None:
        return page
    intent = audience.roll_up(page.intent, stream, due_at=pace.roll_up_at)
    roll_up = _decided(intent, None, GO, unit)
    if before.roll_up_at is None:
        _add(replace(roll_up, next_look_at=pace.roll_up_at), unit)
    return page.waiting_for(roll_up.id)


def _look_again(notification: Notification, unit: NotifierUnit) -> Notification:
    """Decide anew about one that waited, with what is known now."""
    ticket = unit.tickets.get(notification.intent.ticket_id or "")
    verdict = unit.desk.verdict(notification.intent, ticket, released=notification.released, now=unit.now)
    after = notification.under(verdict, unit.now)
    if after != notification:
        _change(after, unit)
    return after


def _reopen(ticket: Ticket, at: datetime, unit: NotifierUnit) -> None:
    within = timedelta(days=unit.desk.policy.clocks.reopen_within_days)
    if ticket.can_be_reopened(at, within=within):
        _supersede_resolution(ticket.id, unit)
        unit.tickets.save(ticket.reopened())


def _supersede_resolution(ticket_id: str, unit: NotifierUnit) -> None:
    for notification in unit.notifications.open_of(ticket_id):
        if audience.is_outdated_by_resolution(notification):
            _change(notification.superseded(Reason.OUTDATED), unit)


def _add(notification: Notification, unit: NotifierUnit) -> None:
    notification = replace(notification, destination=unit.desk.destination(notification.intent))
    unit.notifications.add(notification)
    announce(notification, unit)


def _change(notification: Notification, unit: NotifierUnit) -> None:
    unit.notifications.save(notification)
    announce(notification, unit)


def _created(ticket_id: str, unit: NotifierUnit) -> Ticket:
    ticket = unit.tickets.get(ticket_id)
    if ticket.customer is None:
        raise UnknownTicket
    return ticket


def _moved(event: RoutingEscalated | RoutingDeescalated, cause: Cause, unit: NotifierUnit) -> Ticket:
    ticket = unit.tickets.get(event.ticket_id)
    if ticket.routing is None:
        raise UnknownTicket
    routing = replace(ticket.routing, team=event.team, owning_team=event.owning_team, level=event.to_level)
    if event.category is not None:
        routing = replace(routing, category=event.category, subcategory=event.subcategory)
    return replace(ticket.routed(routing, cause=cause), also_notified=event.also_notified)


def _cause(message: Received[Event], cause_id: str) -> Cause:
    return Cause(cause_id, message.envelope.correlation_id or message.id)
