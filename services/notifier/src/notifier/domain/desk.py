"""Where a message is written: policy texts, templates and the directory of people, asked together."""

from dataclasses import dataclass, field, replace
from datetime import datetime

from notifier.domain.audience import admit
from notifier.domain.facts import known
from notifier.domain.gate import Gate
from notifier.domain.notification import Audience, Intent, Template, Verdict
from notifier.domain.templates import BadTemplate, Templates, Text, Words, missing
from notifier.domain.ticket import Ticket
from notifier.domain.wording import SOURCE_LANGUAGE, LanguageTexts
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
        waits_for = missing(intent.template, self.facts(intent, ticket)) if waits else ()
        return admit(intent, ticket, missing=waits_for, released=released, now=now)

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

    def facts(self, intent: Intent, ticket: Ticket | None, texts: LanguageTexts | None = None) -> dict[str, str]:
        """The facts that are there; which they are is the same in every language."""
        texts = texts or self.templates.edition.leaves_open[SOURCE_LANGUAGE]
        return {"list": self.incident_list} | known(intent, ticket, texts)
