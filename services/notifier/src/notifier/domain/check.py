"""Every text in every language, written with the facts of everything it can be sent about, before anything is sent (SN-27).

What is found at start keeps the service from being ready; pages go out all the same, with a fixed text if it must be (S4).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import product
from typing import NamedTuple

from notifier.domain import audience
from notifier.domain.desk import Desk
from notifier.domain.facts import NOTICES, targets
from notifier.domain.gate import EXITS
from notifier.domain.notification import Alarm, Audience, Intent, Notification, State, Template, Way
from notifier.domain.roll_up import LIVE, WARNINGS, Stream, Waiting
from notifier.domain.templates import PLACEHOLDERS
from notifier.domain.ticket import CLAIMS, REPORTED, RESOLVED_AT, Cause, Customer, Occasion, Routing, Ticket, Trigger
from notifier.domain.wording import Wording
from shared.policy.model import Policy
from shared.vocabulary import CATEGORY_OF, Category, ClockState, Level, Milestone, Severity, Subcategory, Team

_CAUSE = Cause("fixture", "fixture")
_REFS = ("SI-0A1B2C3D", "SI-1B2C3D4E")
_ODD = 'Ada {{ 7*7 }} [User Name] <b>&amp;</b> "Öß"'


class Fixture(NamedTuple):
    """Something that somebody is told, and of which ticket."""

    name: str
    intent: Intent
    ticket: Ticket | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """A text that cannot be sent as it should be, and with which facts that shows."""

    template: Template
    edition: str
    language: str
    fixture: str
    reason: str

    def __str__(self) -> str:
        return f"{self.template} ({self.language}) of edition {self.edition}, {self.fixture}: {self.reason}"


def faults_of(desk: Desk, now: datetime) -> Iterator[Fault]:
    """What is wrong with the texts in force: the first fault of each text in each language."""
    edition = desk.templates.edition
    shown = fixtures(desk.policy, now)
    for template in Template:
        told = [fixture for fixture in shown if fixture.intent.template is template]
        for language in edition.languages(template) or ("no language",):
            fault = _fault(desk, template, language, told)
            if fault is not None:
                yield Fault(template, edition.version, language, *fault)


def fixtures(policy: Policy, now: datetime) -> list[Fixture]:
    """Every occasion on which somebody is told something, with the facts that it brings."""
    return [*_to_customers(policy), *_to_staff(policy, now), *_to_people_on_duty(now)]


def _fault(desk: Desk, template: Template, language: str, told: list[Fixture]) -> tuple[str, str] | None:
    """With which fixture it shows, and what. The gate looks at each page, and at one of each other text."""
    place = "as a file"
    try:
        text = desk.templates.text(template, language)
        printed = text.prints[0] | text.prints[1]
        if wrong := printed ^ set(PLACEHOLDERS[template]):
            return place, f"prints something else than was declared: {', '.join(sorted(wrong))}"
        desk.gate.admit(template, text)
        if not told:
            return place, "there is no fixture of it"
        wording = Wording(desk.templates.edition.version, language)
        written: set[tuple[str | None, ...]] = set()
        for place, intent, ticket in told:  # noqa: B007 - the one that was tried last is told
            facts = desk.facts(intent, ticket, text.leaves_open)
            shown = tuple(facts.get(name) for name in printed)
            if not written or intent.audience is Audience.ON_CALL:
                desk.words(replace(intent, wording=wording), ticket, released=True)
            elif shown not in written:
                text.render(facts)
            written.add(shown)
    except Exception as error:  # whatever it is: it would stop the message
        return place, f"{type(error).__name__}: {error}"
    return None


def _to_customers(policy: Policy) -> Iterator[Fixture]:
    """Each trigger with each kind of matter, each criterion and each team; with names, and with none."""
    named = Customer(name=_ODD, email="ada@example.com", number="4711", character="Moonbear", owner="Moon Studios")
    nameless = Customer(name=None, email="ada@example.com", number=None, character=None, owner=None)
    kinds = [
        (None, None),
        *((category, None) for category in Category),
        *((CATEGORY_OF[one], one) for one in Subcategory),
    ]
    resolved = {"resolution_details": f"1. {_ODD}\n- as you said", RESOLVED_AT: "2026-03-03T15:00:00+00:00"}
    occasions = [Occasion(trigger, _CAUSE) for trigger in (Trigger.FIRST_ROUTED, Trigger.CLAIMED)]
    occasions += [
        Occasion(Trigger.RESOLVED, _CAUSE, resolved),
        Occasion(Trigger.RESOLVED, _CAUSE, resolved | {"agent_name": "Noor"}),
    ]
    for customer, (category, subcategory) in product((named, nameless), kinds):
        for occasion in occasions:
            kind = f"{subcategory or category or 'not classified'}, {'named' if customer is named else 'nameless'}"
            yield from _on(occasion, _ticket(category, subcategory, customer), kind)
    ticket = _ticket(Category.TECHNICAL, Subcategory.LOGIN, named)
    for criterion in sorted(policy.criteria):
        facts = {"team": Team.LEGAL.value, "criterion": criterion.value}
        yield from _on(Occasion(Trigger.ESCALATED, _CAUSE, facts), ticket, criterion.value)
    for team in sorted(policy.teams):
        facts = {"team": team.value, "criterion": "escalation_due"}
        yield from _on(Occasion(Trigger.ESCALATED, _CAUSE, facts), ticket, team.value)


def _on(occasion: Occasion, ticket: Ticket, kind: str) -> Iterator[Fixture]:
    _, intents = audience.customer_intents(replace(ticket, waiting=(occasion,)))
    for intent in intents:
        yield Fixture(f"{occasion.trigger} {kind}", intent, ticket)
        if (asked := audience.follow_up(intent)) is not None:
            yield Fixture(f"after {occasion.trigger} {kind}", asked, ticket)


def _to_staff(policy: Policy, now: datetime) -> Iterator[Fixture]:
    """Of an ordinary ticket, of one of safety, and of one that is not routed yet."""
    due = now + timedelta(hours=1)
    of_safety = _ticket(Category.SAFETY, Subcategory.PRIVACY_CONCERN, None)
    for ticket in (_ticket(Category.ACCOUNT, Subcategory.LOGIN, None), of_safety, Ticket("T-1")):
        intents = [
            *audience.assigned(ticket, (Team.LEGAL,), _CAUSE),
            *audience.merged_in_a_circle(ticket, Team.CUSTOMER_SERVICE, _CAUSE),
            *audience.loop_cut(ticket, Team.CUSTOMER_SERVICE, _CAUSE),
        ]
        for criterion in sorted(policy.criteria):
            intents += audience.escalated(ticket, (Team.LEGAL,), criterion, _CAUSE)
        for milestone in Milestone:
            alarm = Alarm(milestone, 1, "fixture")
            warnings = audience.warned(ticket, Team.LEGAL, alarm, due_at=due, share=0.75, cause=_CAUSE)
            digest = audience.roll_up(warnings[0], Stream(warnings[0].recipient, WARNINGS, LIVE), due_at=due)
            counted = targets(warnings, {ticket.id: ticket}, more=2)
            intents += [*warnings, replace(digest, facts={**digest.facts, **counted})]
            breach = audience.breached(ticket, Team.LEGAL, alarm, due_at=due, cause=_CAUSE)
            told = [Notification(id="x", intent=intent, created_at=now, state=State.SENT) for intent in breach]
            intents += breach
            for state in (ClockState.RUNNING, ClockState.MET):
                intents += audience.corrected(ticket, told, _corrected(milestone, state, due), _CAUSE)
        matter = ticket.routing.category if ticket.routing else "not routed"
        for intent in intents:
            yield Fixture(f"{intent.audience}, {matter}, {_said(intent)}", intent, ticket)


def _to_people_on_duty(now: datetime) -> Iterator[Fixture]:
    """Pages of each severity, live and drill, a hand-over, roll-ups, and what is told of the watch."""
    intents: list[Intent] = []
    ways = [Way("fixture", channel, channel) for channel in EXITS[Audience.ON_CALL]]
    for mode, severity, is_hand_over in product(("live", "drill"), Severity, (False, True)):
        pages = audience.pages(
            _REFS[0],
            ways,
            epoch=1,
            of="1",
            step=0,
            repeat=0,
            severity=severity.word,
            lane="crisis",
            mode=mode,
            paged_at=now,
            is_hand_over=is_hand_over,
            correlation_id="fixture",
        )
        waiting = Waiting({severity.word: len(_REFS)}, now, _REFS)
        for page in pages:
            roll_up = audience.roll_up(page, Stream("fixture", "crisis", mode, page.place), due_at=now)
            intents += [page, replace(roll_up, facts={**roll_up.facts, **waiting.facts(now)})]
    for notice in (*NOTICES, "something else"):
        intents += audience.watch_notices(ways, notice=notice, about="feed", noticed_at=now, cause=_CAUSE)
    for intent in intents:
        yield Fixture(_said(intent), intent)


def _said(intent: Intent) -> str:
    return " ".join(", ".join(intent.facts.values()).split())


def _ticket(category: Category | None, subcategory: Subcategory | None, customer: Customer | None) -> Ticket:
    """With everything reported that a text may wait for."""
    names = {"character": "Moonbear", "owner": "Moon Studios", "rights_holder": "Moon Studios"}
    routing = Routing(category, subcategory, Team.LEGAL, Team.LEGAL, Level.ONE)
    return Ticket("T-1", customer=customer, routing=routing, facts=names | dict.fromkeys(CLAIMS, REPORTED))


def _corrected(milestone: Milestone, state: ClockState, due: datetime) -> audience.CorrectedClock:
    return audience.CorrectedClock(
        milestone=milestone,
        cycle=1,
        state=state,
        at=due,
        due_at=due,
        is_due_otherwise=state is ClockState.RUNNING,
        share=0.5,
        withdrawn="fixture",
    )
