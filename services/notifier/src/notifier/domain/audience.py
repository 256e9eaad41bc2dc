"""Which event leads to which message to whom; nothing else decides that.

Customers, by trigger and subcategory (T1, T2, T4); every other ticket has the text of the row:

| trigger | text | rights_holder_claim | user_question | missing_attribution, false_positive |
| --- | --- | --- | --- | --- |
| first decision | initial response | receipt; its own text waits for its facts | its own text answers it | initial response |
| a claim found later | – | receipt; its own text waits | – | – |
| escalated | escalation | escalation | escalation | escalation |
| resolved | resolution | – (what was reported completes the waiting text) | resolution | its own text |
| two business days after a text of the last row was sent (T5) | follow-up | – | follow-up | follow-up |

Staff is told of each decision and of targets, the people on duty of incidents. Where each fact of a text comes from, and what
of a safety ticket may be told: `facts.py`.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeGuard

from notifier.domain.facts import HAND_OVER
from notifier.domain.notification import (
    GO,
    OPEN,
    Alarm,
    Audience,
    Intent,
    Notification,
    Reason,
    State,
    Template,
    Verdict,
    Way,
)
from notifier.domain.roll_up import LIVE, REQUESTERS, Stream
from notifier.domain.ticket import RESOLVED_AT, Cause, Occasion, Ticket, Trigger
from shared.vocabulary import ClockState, Criterion, Milestone, Subcategory, Team

Texts = tuple[Template, ...]

TEXTS: Mapping[Trigger, Mapping[Subcategory | None, Texts]] = {
    Trigger.FIRST_ROUTED: {
        None: (Template.INITIAL_RESPONSE,),
        Subcategory.USER_QUESTION: (Template.IP_QUESTION,),
        Subcategory.RIGHTS_HOLDER_CLAIM: (Template.RECEIPT, Template.RIGHTS_HOLDER_CLAIM),
    },
    Trigger.CLAIMED: {None: (Template.RECEIPT, Template.RIGHTS_HOLDER_CLAIM)},
    Trigger.ESCALATED: {None: (Template.ESCALATION,)},
    Trigger.RESOLVED: {
        None: (Template.RESOLUTION,),
        Subcategory.MISSING_ATTRIBUTION: (Template.MISSING_ATTRIBUTION,),
        Subcategory.FALSE_POSITIVE: (Template.FALSE_POSITIVE,),
        Subcategory.RIGHTS_HOLDER_CLAIM: (),
    },
}
"""The table above; `None` is every subcategory without a column of its own, and none at all."""

_ONCE = {
    template
    for trigger in (Trigger.FIRST_ROUTED, Trigger.CLAIMED)
    for texts in TEXTS[trigger].values()
    for template in texts
}
"""The answers to what the customer wrote at first: two decisions that come before the ticket itself still mean one of each."""
OF_RESOLUTION = {template for texts in TEXTS[Trigger.RESOLVED].values() for template in texts}
_CLAUSES = {
    Template.RECEIPT: ("T1", "T4"),
    Template.RIGHTS_HOLDER_CLAIM: ("T1", "T2", "T4"),
    Template.FOLLOW_UP: ("T5", "T6"),
    Template.SLA_WARNING: ("L10", "T6"),
    Template.SLA_BREACHED: ("L10", "T6"),
    Template.SLA_CORRECTED: ("L13",),
    Template.MERGE_CIRCLE: ("C3",),
}

_ADDRESS = re.compile(r"[^\s\x00-\x1f\x7f<>,;:\"()\[\]\\@]{1,64}@[a-z0-9][a-z0-9.-]{0,252}", re.ASCII | re.IGNORECASE)
_MACHINE = re.compile(r"((no|do[-_.]?not)[-_.]?reply|mailer-daemon|postmaster|bounces?)([-+_.].*)?@.*", re.IGNORECASE)


def customer_intents(ticket: Ticket) -> tuple[Ticket, tuple[Intent, ...]]:
    """What the customer is to be told now: nothing until both the customer and the first decision are known (T3)."""
    if ticket.customer is None or ticket.routing is None:
        return ticket, ()
    subcategory, told = ticket.routing.subcategory, set(ticket.told)
    intents: list[Intent] = []
    for occasion in ticket.waiting:
        for template in TEXTS[occasion.trigger].get(subcategory, TEXTS[occasion.trigger][None]):
            if template not in told:
                intents.append(_to_customer(ticket, occasion, template))
            if template in _ONCE:
                told.add(template.value)
    return replace(ticket, waiting=(), told=frozenset(told)), tuple(intents)


def follow_up(text: Intent) -> Intent | None:
    """Whether the matter is solved, asked once the text of its resolution has gone out; None after any other text (T5)."""
    if text.template not in OF_RESOLUTION or RESOLVED_AT not in text.facts:
        return None
    return Intent(
        identity=(text.ticket_id or "", Template.FOLLOW_UP.value, text.facts[RESOLVED_AT]),
        audience=Audience.CUSTOMER,
        recipient=text.recipient,
        template=Template.FOLLOW_UP,
        clauses=_CLAUSES[Template.FOLLOW_UP],
        ticket_id=text.ticket_id,
        facts={RESOLVED_AT: text.facts[RESOLVED_AT]},
        correlation_id=text.correlation_id,
    )


def assigned(ticket: Ticket, also_notified: Sequence[Team], cause: Cause) -> tuple[Intent, ...]:
    """Each decision is told to the team that has the ticket now, and to whom else the decision names (R8, T4)."""
    return _to_teams(ticket, also_notified, Template.TEAM_ASSIGNED, {}, cause)


def escalated(ticket: Ticket, also_notified: Sequence[Team], criterion: Criterion, cause: Cause) -> tuple[Intent, ...]:
    """A rise is told to the team it went to, and to whom else the decision names (R8)."""
    return _to_teams(ticket, also_notified, Template.TEAM_ESCALATED, {"criterion": criterion.value}, cause)


def warned(
    ticket: Ticket, team: Team, alarm: Alarm, *, due_at: datetime, share: float, cause: Cause
) -> tuple[Intent, ...]:
    """The team is warned (L10); once the target is missed the warning has nothing to say any more."""
    facts = _target(alarm.milestone, due_at) | {"share": f"{share:.0%}"}
    warning = _to_staff(ticket, Audience.TEAM, team, Template.SLA_WARNING, facts, cause)
    return (replace(warning, alarm=alarm, valid_until=due_at),)


def is_warning_of(alarm: Alarm | None, milestone: Milestone, cycle: int) -> TypeGuard[Alarm]:
    """Whether it warns of this clock: whatever is told of a clock later takes the ground from under it (L10)."""
    return alarm is not None and alarm.share is not None and (alarm.milestone, alarm.cycle) == (milestone, cycle)


def breached(ticket: Ticket, team: Team, alarm: Alarm, *, due_at: datetime, cause: Cause) -> tuple[Intent, ...]:
    """A missed target is told to the team and to its lead at once (T6)."""
    facts = _target(alarm.milestone, due_at)
    return tuple(
        replace(_to_staff(ticket, audience, team, Template.SLA_BREACHED, facts, cause), alarm=alarm)
        for audience in (Audience.TEAM, Audience.LEAD)
    )


def merged_in_a_circle(ticket: Ticket, triage: Team, cause: Cause) -> tuple[Intent, ...]:
    """Those who triage, and their lead, decide which ticket goes on (HD-30)."""
    return tuple(
        _to_staff(ticket, audience, triage, Template.MERGE_CIRCLE, {}, cause)
        for audience in (Audience.TEAM, Audience.LEAD)
    )


def loop_cut(ticket: Ticket, triage: Team, cause: Cause) -> tuple[Intent, ...]:
    """Those who triage look who it is that gets no more messages by themselves (HD-63)."""
    return (_to_staff(ticket, Audience.TEAM, triage, Template.LOOP_CUT, {}, cause),)


def stream_of_requester(email: str) -> Stream:
    """What goes out by itself to one address is counted together; what is kept of it does not tell the address."""
    digest = hashlib.blake2b(email.casefold().encode(), digest_size=16).hexdigest()
    return Stream(f"requester/{digest}", REQUESTERS, LIVE)


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectedClock:
    """A clock as it stands after a correction, and the event that this withdrew (L13)."""

    milestone: Milestone
    cycle: int
    state: ClockState
    at: datetime
    due_at: datetime
    is_due_otherwise: bool
    share: float
    withdrawn: str | None

    def withdraws(self, alarm: Alarm | None) -> bool:
        """Whether what was said of it no longer holds: its breach, or a warning of a share that was not reached or is due
        at another time."""
        if alarm is None or (alarm.milestone, alarm.cycle) != (self.milestone, self.cycle):
            return False
        if alarm.share is None:
            return alarm.event_id == self.withdrawn
        if self.state is ClockState.RUNNING:
            return self.is_due_otherwise
        return self.state is not ClockState.BREACHED and alarm.share > self.share

    @property
    def standing(self) -> str:
        """In words; what a clock of escalation raised is lowered by a person alone (R9, HD-65)."""
        if self.state is ClockState.RUNNING:
            return f"due {_minute(self.due_at)}"
        words = f"{self.state.value} since {_minute(self.at)}"
        if self.milestone is Milestone.ESCALATION:
            words += ". If it raised the ticket, the ticket keeps its level until somebody lowers it"
        return words


def corrected(
    ticket: Ticket, withdrawn: Iterable[Notification], clock: CorrectedClock, cause: Cause
) -> tuple[Intent, ...]:
    """Whoever was told what no longer holds of a clock is told so once, however much that was (L13)."""
    facts = _milestone(clock.milestone) | {"standing": clock.standing}
    told = dict.fromkeys(
        (one.intent.audience, Team(one.intent.facts["team"])) for one in withdrawn if one.may_have_arrived
    )
    return tuple(_to_staff(ticket, audience, team, Template.SLA_CORRECTED, facts, cause) for audience, team in told)


def pages(
    incident_ref: str,
    ways: Iterable[Way],
    *,
    epoch: int | None,
    of: str,
    step: int,
    repeat: int,
    severity: str,
    lane: str,
    mode: str,
    paged_at: datetime,
    is_hand_over: bool = False,
    correlation_id: str,
) -> tuple[Intent, ...]:
    """One page on each way to each person on duty, however many roles they hold (S4); nothing but reference and severity (S5).

    `epoch`: with whose acknowledgement it is over, None for a page that outlives it. `of` is the ladder it is a step of.
    Whoever has just come on duty is told that it is a hand-over.
    """
    facts = {"severity": severity, "lane": lane, "mode": mode, "paged_at": _minute(paged_at)}
    if is_hand_over:
        facts["occasion"] = HAND_OVER
    return tuple(
        Intent(
            identity=(incident_ref, of, str(step), str(repeat), way.recipient),
            audience=Audience.ON_CALL,
            recipient=way.recipient,
            template=Template.PAGE,
            clauses=("S4", "S5"),
            incident_ref=incident_ref,
            epoch=epoch,
            facts=facts,
            correlation_id=correlation_id,
            channel=way.channel,
            way=way.name,
        )
        for way in dict.fromkeys(ways)
    )


def roll_up(message: Intent, stream: Stream, *, due_at: datetime) -> Intent:
    """What says the messages of a stream together at that instant, by the way of this one; its facts are counted then (4.8)."""
    is_page = message.template is Template.PAGE
    facts = {"lane": stream.lane, "mode": stream.mode}
    return Intent(
        identity=(stream.recipient, stream.lane, stream.mode, due_at.isoformat()),
        audience=message.audience,
        recipient=stream.recipient,
        template=Template.ROLL_UP if is_page else Template.SLA_DIGEST,
        clauses=message.clauses,
        facts=facts if is_page else facts | {"team": message.facts["team"]},
        correlation_id=message.correlation_id,
        channel=message.channel,
        way=message.way,
    )


def watch_notices(
    ways: Iterable[Way], *, notice: str, about: str, noticed_at: datetime, cause: Cause
) -> tuple[Intent, ...]:
    """What is odd about the watch itself, on each way to each person who looks after it (S4): codes and ids only (S5)."""
    return tuple(
        Intent(
            identity=(notice, cause.id, way.recipient),
            audience=Audience.ON_CALL,
            recipient=way.recipient,
            template=Template.WATCH,
            clauses=("S4", "S5"),
            facts={"notice": notice, "source": about, "paged_at": _minute(noticed_at)},
            correlation_id=cause.correlation_id,
            channel=way.channel,
            way=way.name,
        )
        for way in dict.fromkeys(ways)
    )


def redirected(page: Intent, way: Way) -> Intent:
    """What a page is on another way, to whomever: the same for ever, so that nobody is told of it twice on one way."""
    place = 0 if page.template is Template.ROLL_UP else len(page.identity) - 1
    identity = (*page.identity[:place], way.recipient, *page.identity[place + 1 :])
    return replace(page.by(way), recipient=way.recipient, identity=identity, stands_in_for=None)


def overtaken(open_pages: Iterable[Notification], page: Notification) -> tuple[Notification, ...]:
    """Open pages of an incident to the same person on the same way, for which the newer one stands; it alone is tried on (S4).

    One that an acknowledgement ends does not stand for one that it does not end.
    """
    return tuple(
        older.superseded(Reason.NEWER_PAGE, by=page.id)
        for older in open_pages
        if (older.intent.recipient, older.intent.place) == (page.intent.recipient, page.intent.place)
        and older.id != page.id
        and (page.intent.epoch is None or older.intent.epoch is not None)
    )


def admit(
    intent: Intent, ticket: Ticket | None, *, missing: tuple[str, ...], released: bool = False, now: datetime
) -> Verdict:
    """Whether a notification may go out as things stand now; asked when it is made and again right before sending (T3)."""
    if intent.valid_until is not None and now >= intent.valid_until:
        return Verdict(State.EXPIRED, Reason.TOO_LATE)
    if intent.audience is Audience.CUSTOMER and ticket is not None:
        if not is_still_true(intent, ticket):
            return Verdict(State.SUPERSEDED, Reason.OUTDATED)
        if verdict := _refusal(ticket, released):
            return verdict
    if missing:
        return Verdict(State.HELD, Reason.MISSING_FACTS, missing)
    return GO


def _refusal(ticket: Ticket, released: bool) -> Verdict | None:
    """Why this customer is not written to, if so."""
    email = ticket.customer.email if ticket.customer else None
    if ticket.closed:
        return Verdict(State.SUPERSEDED, Reason.TICKET_CLOSED)
    if ticket.is_safety and not released:
        return Verdict(State.SUPPRESSED, Reason.SAFETY_TICKET)
    if not is_address(email):
        return Verdict(State.SUPPRESSED, Reason.NO_ADDRESS)
    if is_machine(email):
        return Verdict(State.SUPPRESSED, Reason.MACHINE_ADDRESS)
    if ticket.written_by_machine and not released:
        return Verdict(State.SUPPRESSED, Reason.MACHINE_MAIL)
    return None


def is_still_true(intent: Intent, ticket: Ticket) -> bool:
    """Whether the resolution it tells of stands; of a safety ticket nobody asks whether it is solved (T2, T5)."""
    is_asked = intent.template is Template.FOLLOW_UP
    return ticket.is_resolved_as(intent.facts) and not (is_asked and ticket.is_safety)


def is_outdated_by_resolution(notification: Notification) -> bool:
    """Whether a newer resolution, or a reopening, takes the ground from under it (T2, T5)."""
    template = notification.intent.template
    return notification.state in OPEN and (template in OF_RESOLUTION or template is Template.FOLLOW_UP)


def is_address(email: str | None) -> TypeGuard[str]:
    """Whether it is one plain e-mail address; whatever could name a second recipient is not."""
    return email is not None and _ADDRESS.fullmatch(email) is not None


def is_machine(email: str) -> bool:
    """Whether the address reads like one that nobody reads; mail to it only comes back."""
    return _MACHINE.fullmatch(email) is not None


def _to_customer(ticket: Ticket, occasion: Occasion, template: Template) -> Intent:
    return Intent(
        identity=(ticket.id, template.value, occasion.cause.id),
        audience=Audience.CUSTOMER,
        recipient="requester",
        template=template,
        clauses=_CLAUSES.get(template, ("T1", "T2")),
        ticket_id=ticket.id,
        facts=occasion.facts,
        correlation_id=occasion.cause.correlation_id,
    )


def _to_teams(
    ticket: Ticket, also_notified: Sequence[Team], template: Template, facts: Mapping[str, str], cause: Cause
) -> tuple[Intent, ...]:
    teams = (ticket.routing.people, *also_notified) if ticket.routing else also_notified
    return tuple(
        _to_staff(ticket, Audience.TEAM, team, template, facts, cause)
        for team in dict.fromkeys(teams)
        if team is not Team.CHILD_SAFETY_AGENT
    )


def _to_staff(
    ticket: Ticket, audience: Audience, team: Team, template: Template, facts: Mapping[str, str], cause: Cause
) -> Intent:
    return Intent(
        identity=(ticket.id, template.value, cause.id, audience.value, team.value),
        audience=audience,
        recipient=f"{audience.value}/{team.value}",
        template=template,
        clauses=_CLAUSES.get(template, ("R8",)),
        ticket_id=ticket.id,
        facts={**facts, "team": team.value},
        correlation_id=cause.correlation_id,
    )


def _target(milestone: Milestone, due_at: datetime) -> dict[str, str]:
    return _milestone(milestone) | {"due_at": _minute(due_at)}


def _milestone(milestone: Milestone) -> dict[str, str]:
    return {"milestone": milestone.value.replace("_", " ")}


def _minute(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%d %H:%M UTC")
