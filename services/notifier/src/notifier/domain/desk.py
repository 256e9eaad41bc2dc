"""Where a message is written: policy texts, templates and the directory of people, asked together."""

from dataclasses import dataclass
from datetime import datetime

from notifier.domain.audience import admit
from notifier.domain.facts import known
from notifier.domain.gate import Gate
from notifier.domain.notification import Audience, Intent, Verdict
from notifier.domain.templates import Templates, Words
from notifier.domain.ticket import Ticket
from shared.directory import Directory
from shared.policy.model import Policy
from shared.vocabulary import Team


@dataclass(frozen=True, slots=True)
class Desk:
    """Everything a message is written with. The directory is the one in force as the unit of work begins."""

    policy: Policy
    templates: Templates
    gate: Gate
    directory: Directory
    incident_list: str
    """Where the people on duty find every open incident: an address behind a login, or words."""
    allowed: frozenset[str] | None = None
    """Addresses, and domains with their @, that may be written to; None: every one. Outside production nobody else is."""

    def verdict(self, intent: Intent, ticket: Ticket | None, *, released: bool = False, now: datetime) -> Verdict:
        """Whether it may go out as things stand now (T2, T3)."""
        facts = known(intent, ticket, self.policy.texts)
        waits = intent.audience is not Audience.ON_CALL  # a page without one of its facts falls back to a fixed text
        missing = self.templates.missing(intent.template, facts) if waits else ()
        return admit(intent, ticket, missing=missing, released=released, now=now)

    def words(self, intent: Intent, ticket: Ticket | None, *, released: bool = False) -> Words:
        """What it says, once the gate has let it pass (S5).

        Raises:
            jinja2.UndefinedError: a fact is missing; ask for the verdict first.
            TextStopped: it says too much.
        """
        facts = {"list": self.incident_list} | known(intent, ticket, self.policy.texts)
        words = self.templates.render(intent.template, facts)
        self.gate.check(intent, ticket, facts, words, released=released)
        return words

    def fixed_page(self, intent: Intent) -> Words:
        """What a page says whose text cannot be sent: a page is never lost (S4)."""
        facts = known(intent, None, self.policy.texts)
        return Words(f"{facts['heading']} Action needed now", f"{facts.get('call') or facts['notice']}\n")

    def may_write_to(self, address: str) -> bool:
        """Whether this deployment writes to that address at all, whatever an event says."""
        written = address.casefold()
        return self.allowed is None or bool({written, written[written.rfind("@") :]} & self.allowed)

    def address(self, intent: Intent, ticket: Ticket | None) -> str | None:
        """Where it goes today; None when the recipient cannot be reached."""
        if intent.audience is Audience.CUSTOMER:
            return ticket.customer.email if ticket and ticket.customer else None
        if intent.audience is Audience.ON_CALL:
            person = self.directory.find_person(intent.recipient)
            ways = person.urgent_channels if person else ()
            return next((way.address for way in ways if way.kind.value == intent.channel.value), None)
        team = Team(intent.recipient.partition("/")[2])
        of = self.directory.lead_address if intent.audience is Audience.LEAD else self.directory.team_address
        return of(team)
