"""Where a message is written: policy texts, templates and the directory of people, asked together."""

from dataclasses import dataclass
from datetime import datetime

from notifier.domain.audience import admit
from notifier.domain.facts import known
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
    directory: Directory

    def verdict(self, intent: Intent, ticket: Ticket | None, *, released: bool = False, now: datetime) -> Verdict:
        """Whether it may go out as things stand now (T2, T3)."""
        missing = self.templates.missing(intent.template, known(intent, ticket, self.policy.texts))
        return admit(intent, ticket, missing=missing, released=released, now=now)

    def words(self, intent: Intent, ticket: Ticket | None) -> Words:
        """What it says.

        Raises:
            jinja2.UndefinedError: a fact is missing; ask for the verdict first.
        """
        return self.templates.render(intent.template, known(intent, ticket, self.policy.texts))

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
