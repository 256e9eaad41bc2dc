"""What somebody should be told, and how far that has got."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Self

from notifier.domain.ticket import CLAIMS, REPORTED
from notifier.domain.wording import Wording
from shared.errors import Refusal
from shared.vocabulary import Milestone

ESCALATED_TO_LEGAL = "escalated_to_legal"
WHAT_WAS_DONE = frozenset((*CLAIMS, ESCALATED_TO_LEGAL))
"""Facts that are true or missing; every other fact is words."""


class Template(StrEnum):
    """Every text there is (T1); the name of its file."""

    INITIAL_RESPONSE = "initial_response"
    RESOLUTION = "resolution"
    ESCALATION = "escalation"
    MISSING_ATTRIBUTION = "missing_attribution"
    FALSE_POSITIVE = "false_positive"
    RIGHTS_HOLDER_CLAIM = "rights_holder_claim"
    IP_QUESTION = "ip_question"
    RECEIPT = "receipt"
    FOLLOW_UP = "follow_up"
    TEAM_ASSIGNED = "team_assigned"
    TEAM_ESCALATED = "team_escalated"
    SLA_WARNING = "sla_warning"
    SLA_DIGEST = "sla_digest"
    SLA_BREACHED = "sla_breached"
    SLA_CORRECTED = "sla_corrected"
    MERGE_CIRCLE = "merge_circle"
    LOOP_CUT = "loop_cut"
    PAGE = "page"
    ROLL_UP = "roll_up"
    WATCH = "watch"


COUNTED: Mapping[Template, str] = {Template.ROLL_UP: "total", Template.SLA_DIGEST: "targets"}
"""Texts that say others together, and the fact that is there once it was counted what they have to say."""


class Channel(StrEnum):
    """A way to reach somebody; the words are those of the directory's kinds of channels."""

    EMAIL = "email"
    SLACK = "slack"
    WEBHOOK = "webhook"
    APPRISE = "apprise"


class Way(NamedTuple):
    """One way to one recipient. `name` is the channel's, with a number where the recipient has several of it."""

    recipient: str
    channel: Channel
    name: str


class Audience(StrEnum):
    """Who is told; decides what may be said (S5) and what an uncertain delivery means."""

    CUSTOMER = "customer"
    TEAM = "team"
    LEAD = "lead"
    ON_CALL = "on_call"


class State(StrEnum):
    """How far a notification has got. The first two are on their way; held and suppressed ones wait for a person."""

    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    HELD = "held"
    SUPPRESSED = "suppressed"
    SUPERSEDED = "superseded"
    EXPIRED = "expired"


OPEN = (State.QUEUED, State.SENDING, State.HELD, State.SUPPRESSED)
"""States in which something may still go out."""


class Reason(StrEnum):
    """Why a notification is not simply sent; what a mail server answered is `smtp_<code>` or `smtp_<trouble>`."""

    MISSING_FACTS = "missing_facts"
    SAFETY_TICKET = "safety_ticket"
    NO_ADDRESS = "no_address"
    MACHINE_ADDRESS = "machine_address"
    MACHINE_MAIL = "machine_mail"
    TOO_MANY = "too_many"
    """Its requester has had as many messages as go out by themselves: two machines may be answering each other (HD-63)."""
    AMBIGUOUS = "ambiguous"
    TICKET_CLOSED = "ticket_closed"
    OUTDATED = "outdated"
    NEWER_PAGE = "newer_page"
    ROLLED_UP = "rolled_up"
    """Said together with others, since there were too many to say one by one (S4)."""
    ACKNOWLEDGED = "acknowledged"
    NOBODY_ON_DUTY = "nobody_on_duty"
    TOO_LATE = "too_late"
    UNRENDERABLE = "unrenderable"
    NOT_ALLOWED = "not_allowed"
    """The deployment is not production, and its recipients do not include this one."""
    DESTINATION_DISABLED = "destination_disabled"
    """Its address has said that it is gone; until a person lifts that, or the directory names another, nothing goes there."""
    CONFIDENTIAL = "confidential"
    """The gate stopped its text (S5)."""


class NotHeld(Refusal):
    """This notification does not wait for a person."""

    slug = "not-held"
    clause = "T2"


class NotResendable(Refusal):
    """This notification is on its way, waits for a person, was overtaken, or is repeated by what it is about."""

    slug = "not-resendable"
    clause = "T3"

    def __init__(self, reason: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason or "not_resendable"
        """Which reason stands against it now."""


class NotShown(Refusal):
    """What a customer is told about a safety ticket is shown to nobody else, nor what the gate stops or cannot be written."""

    status = 403
    slug = "not-shown"
    clause = "S5"


class FactsMissing(Refusal):
    """This notification waits for facts; complete it instead."""

    slug = "facts-missing"
    clause = "T2"


class NotMissing(Refusal):
    """A fact was supplied that this notification does not wait for, or a value that cannot stand for it."""

    status = 422
    slug = "not-missing"
    clause = "T2"


@dataclass(frozen=True, slots=True)
class Alarm:
    """What was said of a clock: by which event, and of a warning at which share of the target."""

    milestone: Milestone
    cycle: int
    event_id: str
    share: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """That one recipient is to be told one thing on one occasion.

    `identity` names the intent for ever: however often its cause is delivered, there is one notification of it.
    `recipient` is a reference (`requester`, `team/legal`, `lead/legal`, a person's id), never an address.
    """

    identity: tuple[str, ...]
    audience: Audience
    recipient: str
    template: Template
    clauses: tuple[str, ...]
    ticket_id: str | None = None
    incident_ref: str | None = None
    epoch: int | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    alarm: Alarm | None = None
    valid_until: datetime | None = None
    correlation_id: str = ""
    channel: Channel = Channel.EMAIL
    wording: Wording | None = None
    """From which texts it is written; None where that was not named yet: from those in force."""
    way: str = ""
    """The name of the recipient's way, where it is not simply the channel's."""
    stands_in_for: str | None = None
    """The person who could not be reached, and in whose place this one is told (invariant 27)."""

    @property
    def place(self) -> str:
        """The name of the way it takes."""
        return self.way or self.channel.value

    def by(self, way: Way) -> Self:
        """The same thing by another way to the same recipient."""
        return replace(self, channel=way.channel, way=way.name)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to become of a notification that is not on its way."""

    state: State
    reason: str | None = None
    missing: tuple[str, ...] = ()


GO = Verdict(State.QUEUED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """An intent and its fate. `attempts` counts tries begun; `next_look_at` is the next try, or the end of the current one."""

    id: str
    intent: Intent
    created_at: datetime
    state: State
    reason: str | None = None
    missing: tuple[str, ...] = ()
    covered_by: str | None = None
    rolled_up_in: str | None = None
    """The roll-up that says it, which may not have gone out yet."""
    attempts: int = 0
    next_look_at: datetime | None = None
    released: bool = False
    """A person let it go out although the ticket is a safety ticket (T3)."""
    decided_by: str | None = None
    """Who supplied its facts, released it or sent it again."""
    sent_at: datetime | None = None
    is_doubtful: bool = False
    """A try of it left open whether it arrived (RFC 1047)."""
    others_asked: bool = False
    """Since it had not reached its recipient, another way or person was looked for (invariant 27)."""
    destination: str = Channel.EMAIL
    """What it shares places, pace and pauses with, as known when it was made; never an address."""
    resend_of: str | None = None
    is_begun: bool = False
    """A try of it has begun, if only to learn that its destination has to be spared: its requester was counted (HD-63)."""

    @classmethod
    def of(cls, notification_id: str, intent: Intent, verdict: Verdict, now: datetime) -> Self:
        blank = cls(id=notification_id, intent=intent, created_at=now, state=State.QUEUED)
        return blank.under(verdict, now)

    @property
    def may_have_arrived(self) -> bool:
        """Whether its recipient may know of it; of one that failed for good only where an earlier try left that open."""
        return (
            self.state is State.SENT
            or (self.state in OPEN and self.attempts > 0)
            or (self.state is State.FAILED and self.is_doubtful)
        )

    @property
    def is_urgent(self) -> bool:
        """Pages have a lane of their own and wait behind nothing (S6)."""
        return self.intent.audience is Audience.ON_CALL

    @property
    def is_uncounted(self) -> bool:
        """Whether it is a roll-up that nobody has counted yet what it has to say."""
        fact = COUNTED.get(self.intent.template)
        return fact is not None and fact not in self.intent.facts

    def under(self, verdict: Verdict, now: datetime) -> Self:
        """As the verdict says; one that may go is due now."""
        return replace(
            self,
            state=verdict.state,
            reason=verdict.reason,
            missing=verdict.missing,
            next_look_at=now if verdict.state is State.QUEUED else None,
        )

    def superseded(self, reason: Reason, *, by: str | None = None) -> Self:
        """Overtaken. A try under way goes on; should it succeed, that is what is recorded."""
        return replace(self, state=State.SUPERSEDED, reason=reason, covered_by=by, missing=(), next_look_at=None)

    def waiting_for(self, roll_up_id: str) -> Self:
        """To be said by a roll-up, not by itself."""
        return replace(self, reason=Reason.ROLLED_UP, rolled_up_in=roll_up_id, next_look_at=None)

    def supplied(self, facts: Mapping[str, str | bool], *, by: str) -> Self:
        """With facts that a person supplied: `true` for what was done, words for the rest (T2).

        Raises:
            NotHeld: it does not wait for facts.
            NotMissing: it does not wait for one of these, or the value cannot stand for it.
        """
        if self.state is not State.HELD or self.reason != Reason.MISSING_FACTS:
            raise NotHeld
        supplied = {name: self._supplied(name, value) for name, value in facts.items()}
        return replace(self, intent=replace(self.intent, facts={**self.intent.facts, **supplied}), decided_by=by)

    def released_by(self, by: str) -> Self:
        """Let go by a person: though the ticket is a safety ticket (T3), or though it may have arrived already.

        Raises:
            NotHeld: it does not wait for a person.
            FactsMissing: it waits for facts.
        """
        if self.state is State.HELD and self.reason == Reason.MISSING_FACTS:
            raise FactsMissing
        for_safety = self.state is State.SUPPRESSED and self.reason == Reason.SAFETY_TICKET
        if self.state is not State.HELD and not for_safety:
            raise NotHeld
        return replace(self, released=self.released or for_safety, decided_by=by)

    def again(self, key: str) -> Intent:
        """The intent of sending it once more; the same key is the same intent, however often it is asked for, and whether of
        the first message or of one that repeats it.

        Raises:
            NotResendable: it has not ended, was overtaken, or is a page, a roll-up or a warning, which say what was then.
        """
        is_over = self.state in (State.SENT, State.FAILED, State.SUPPRESSED)
        if not is_over or self.is_urgent or self.intent.template in (*COUNTED, Template.SLA_WARNING):
            raise NotResendable
        first = self.intent.identity[:-2] if self.resend_of else self.intent.identity
        return replace(self.intent, identity=(*first, "again", key))

    def _supplied(self, name: str, value: str | bool) -> str:
        if name not in self.missing:
            raise NotMissing
        if value is True and name in WHAT_WAS_DONE:
            return REPORTED
        if isinstance(value, str) and value.strip() and name not in WHAT_WAS_DONE:
            return value
        raise NotMissing
