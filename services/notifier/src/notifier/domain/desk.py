"""Where a message is written: policy texts, templates and the directory of people, asked together."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from notifier.domain.audience import admit, stream_of_requester
from notifier.domain.facts import known
from notifier.domain.gate import Gate, is_thin
from notifier.domain.hours import Hours
from notifier.domain.notification import Audience, Channel, Intent, Notification, Template, Verdict, Way
from notifier.domain.roll_up import Rate, Stream
from notifier.domain.templates import BadTemplate, Templates, Text, Words, missing
from notifier.domain.ticket import Ticket
from notifier.domain.wording import SOURCE_LANGUAGE, LanguageTexts
from shared.directory import ChannelKind, Directory, OnCallRole
from shared.policy.model import Policy
from shared.vocabulary import Team

RESTRICTED = "channel/restricted"
"""The recipient of what every page says to all people on duty together; no person's id has this form."""
STANDING_IN = tuple(role for role in OnCallRole if role is not OnCallRole.OPS)
"""Who is told in place of somebody who cannot be reached, in this order (invariant 27)."""


@dataclass(frozen=True, slots=True)
class Desk:
    """Everything a message is written with. The directory is the one in force as the unit of work begins."""

    policy: Policy
    templates: Templates
    gate: Gate
    directory: Directory
    incident_list: str
    """Where the people on duty find every open incident: an address behind a login, or words."""
    hours: Hours
    allowed: frozenset[str] | None = None
    """Addresses, domains with their @, hosts with their //, that may be written to; None: every one. Outside production
    nobody else is."""
    restricted: Mapping[Channel, str] = field(default_factory=dict, repr=False)
    """Where all people on duty read pages together (S4)."""
    editions: dict[str, Templates] = field(default_factory=dict)
    """By version, those that are known to be kept: the one in force, and older ones that messages under way name (HD-68)."""

    refused: frozenset[tuple[Template, str]] = frozenset()
    """Texts and languages of the edition in force that cannot be sent as they should be (SN-27)."""

    def worded(self, intent: Intent, ticket: Ticket | None) -> Intent:
        """With the words it is decided on in: the texts in force, in the customer's language (HD-67)."""
        customer = ticket.customer if ticket and intent.audience is Audience.CUSTOMER else None
        locale = customer.locale if customer else None
        return replace(intent, wording=self.templates.wording(intent.template, locale))

    def verdict(self, intent: Intent, ticket: Ticket | None, *, released: bool = False, now: datetime) -> Verdict:
        """Whether it may go out as things stand now (T2, T3)."""
        waits = intent.audience is not Audience.ON_CALL  # a page without one of its facts falls back to a fixed text
        waits_for = self.missing(intent, ticket) if waits else ()
        return admit(intent, ticket, missing=waits_for, released=released, now=now)

    def missing(self, intent: Intent, ticket: Ticket | None) -> tuple[str, ...]:
        """The names of the facts without which it cannot be written (T2)."""
        return missing(intent.template, self.facts(intent, ticket))

    def words(self, intent: Intent, ticket: Ticket | None, *, released: bool = False) -> Words:
        """What it says, once the gate has let it pass (S5).

        Raises:
            jinja2.UndefinedError: a fact is missing; ask for the verdict first.
            BadTemplate: the text cannot be used.
            TextStopped: it says too much.
        """
        text = self.text(intent)
        facts = self.facts(intent, ticket, text.leaves_open)
        words = text.render(facts)
        if is_thin(intent):
            words = replace(words, body="", html=None)
        self.gate.check(intent, ticket, facts, words, text, released=released)
        return words

    def text(self, intent: Intent) -> Text:
        """The text that it was decided to be written from (HD-68).

        Raises:
            BadTemplate: there is no such text, or it cannot be used.
        """
        wording = intent.wording or self.templates.wording(intent.template, None)
        templates = self.templates
        if wording.edition == templates.edition.version and (intent.template, wording.language) in self.refused:
            raise BadTemplate("refused at start")
        if wording.edition != templates.edition.version:
            if wording.edition not in self.editions:
                raise BadTemplate(f"edition {wording.edition} is not known")
            templates = self.editions[wording.edition]
        return templates.text(intent.template, wording.language)

    def fixed_page(self, intent: Intent) -> Words:
        """What a page says whose text cannot be sent: a page is never lost (S4)."""
        facts = self.facts(intent, None)
        body = "" if is_thin(intent) else f"{facts.get('call') or facts['notice']}\n"
        return Words(f"{facts['heading']} Action needed now", body)

    def counted_as(self, notification: Notification, ticket: Ticket | None) -> Stream | None:
        """With what else to its requester it is counted before its first try; what a person lets go is not (HD-63)."""
        if notification.intent.audience is not Audience.CUSTOMER or notification.is_begun or notification.decided_by:
            return None
        address = self.address(notification.intent, ticket)
        return stream_of_requester(address) if address is not None else None

    @property
    def automatic(self) -> Rate:
        """How much goes out by itself to one requester (HD-63)."""
        within = timedelta(minutes=self.policy.notices.automatic.within_minutes)
        return Rate(self.policy.notices.automatic.messages, within, within)

    def may_write_to(self, address: str) -> bool:
        """Whether this deployment writes to that address at all, whatever an event says."""
        if self.allowed is None:
            return True
        if "://" in address:
            return f"//{urlsplit(address).hostname}" in self.allowed
        written = address.casefold()
        return bool({written, written[written.rfind("@") :]} & self.allowed)

    def ways_to(self, person: str) -> tuple[Way, ...]:
        """Every way that rings; of somebody whom the directory does not know the one by which that comes to light."""
        known = self.directory.find_person(person)
        if known is None:
            return (Way(person, Channel.EMAIL, Channel.EMAIL),)
        return tuple(Way(person, Channel(channel.kind), name) for name, channel in known.ways.items())

    def together(self) -> tuple[Way, ...]:
        """Where all people on duty read pages together."""
        return tuple(Way(RESTRICTED, channel, channel.value) for channel in self.restricted)

    def stand_ins(self, now: datetime) -> list[str]:
        """Everybody on duty, in the order in which they are told for somebody else (invariant 27)."""
        people = (person.id for role in STANDING_IN for person in self.directory.on_duty(role, now))
        return list(dict.fromkeys(people))

    def on_every_channel(self, intent: Intent) -> tuple[Intent, ...]:
        """What a team is told in its inbox, and in a line wherever else the directory says."""
        if intent.audience is not Audience.TEAM:
            return (intent,)
        channels = self.directory.team_channels(_team(intent))
        return (intent, *(replace(intent, channel=Channel(kind)) for kind in channels))

    def destination(self, intent: Intent) -> str:
        """What the address shares places, pace and pauses with: one mail server, or one URL, which the name does not tell."""
        if intent.channel is Channel.EMAIL:
            return Channel.EMAIL
        address = self.address(intent, None) or intent.recipient
        return f"{intent.channel}-{hashlib.sha256(address.encode()).hexdigest()[:16]}"

    def address(self, intent: Intent, ticket: Ticket | None) -> str | None:
        """Where it goes today; None when the recipient cannot be reached."""
        if intent.audience is Audience.CUSTOMER:
            return ticket.customer.email if ticket and ticket.customer else None
        if intent.recipient == RESTRICTED:
            return self.restricted.get(intent.channel)
        if intent.audience is Audience.ON_CALL:
            person = self.directory.find_person(intent.recipient)
            way = person.ways.get(intent.place) if person else None
            return way.address if way else None
        if intent.audience is Audience.LEAD:
            return self.directory.lead_address(_team(intent))
        if intent.channel is Channel.EMAIL:
            return self.directory.team_address(_team(intent))
        return self.directory.team_channels(_team(intent)).get(ChannelKind(intent.channel))

    def facts(self, intent: Intent, ticket: Ticket | None, texts: LanguageTexts | None = None) -> dict[str, str]:
        """The facts that are there; which they are is the same in every language."""
        texts = texts or self.templates.edition.leaves_open[SOURCE_LANGUAGE]
        return {"list": self.incident_list} | known(intent, ticket, texts)


def _team(intent: Intent) -> Team:
    return Team(intent.recipient.partition("/")[2])
