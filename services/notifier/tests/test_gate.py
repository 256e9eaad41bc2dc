"""What the matrix does not show is not sent, whichever way it got into a text (S5, 4.10)."""

import base64
import html
import quopri
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from notifier.domain.desk import Desk
from notifier.domain.gate import AUDIENCES, EXITS, PRINTED_IN, READERS, Gate, TextStopped, is_thin
from notifier.domain.notification import Audience, Channel, Intent, Template
from notifier.domain.templates import BadTemplate, Text, Words
from notifier.domain.ticket import Customer, Routing, Ticket
from shared.policy.confidentiality import Confidentiality, Exit, Form, Matter, Value, load_confidentiality
from shared.vocabulary import Category, Level, Subcategory, Team

MATRIX = load_confidentiality()
REF = "SI-0A1B2C3D"
TEXT_FOR = {
    Audience.CUSTOMER: Template.RECEIPT,
    Audience.TEAM: Template.TEAM_ASSIGNED,
    Audience.LEAD: Template.SLA_BREACHED,
    Audience.ON_CALL: Template.PAGE,
}
CELLS = [
    (matter, value, audience, channel, place)
    for matter, value, audience in product(Matter, Value, Audience)
    for channel, exits in EXITS[audience].items()
    for place, exit_ in zip(("subject", "body"), exits, strict=True)
    if exit_ is not None
    if matter is Matter.SAFETY or audience is not Audience.ON_CALL
]
DISGUISES: dict[str, Callable[[str], str]] = {
    "plain": str,
    "capitals": str.upper,
    "wide letters": lambda word: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in word),
    "broken over lines": lambda word: word.replace(" ", "\n"),
    "url": lambda word: quote(word, safe="").replace("a", "%61"),
    "form": lambda word: quote_plus(word).replace("a", "%61"),
    "html": lambda word: html.escape(word).replace("a", "&#97;").replace("e", "&#x65;"),
    "quoted-printable": lambda word: quopri.encodestring(word.encode(), quotetabs=True).decode().replace("a", "=61"),
    "base64": lambda word: base64.b64encode(f"see: {word}!".encode()).decode(),
    "base64 in lines": lambda word: base64.encodebytes(f"{'x' * 50} {word}".encode()).decode(),
    "base64 for urls": lambda word: base64.urlsafe_b64encode(f">>>> {word}".encode()).decode().rstrip("="),
    "base64 in a url": lambda word: (
        quote(base64.b64encode(f"see: {word}".encode()).decode(), safe="").lower()[:0]
        + quote(base64.b64encode(f"see: {word}".encode()).decode(), safe="")
    ),
    "url in base64": lambda word: base64.b64encode(quote(word, safe="").replace("a", "%61").encode()).decode(),
}
NAME, EMAIL = "Ada Canary", "ada.canary@example.com"


class Printing(Text):
    """A text that also prints a fact that nobody declared."""

    def __init__(self, text: Text, place: str) -> None:
        self.__dict__ = dict(text.__dict__)
        subject, body = text.prints
        planted = frozenset({"planted"})
        self.prints = (subject | planted, body) if place == "subject" else (subject, body | planted)


def an_intent(audience: Audience, **fields: Any) -> Intent:
    plain: dict[str, Any] = {
        "identity": ("x",),
        "audience": audience,
        "recipient": "somebody",
        "template": TEXT_FOR[audience],
        "clauses": (),
        "facts": {
            "team": "safety",
            "milestone": "resolution",
            "due_at": "2026-03-03 15:00 UTC",
            "targets": "Ticket N-4712: resolution, 75% used, due 2026-03-03 15:00 UTC",
        },
        "ticket_id": "T-4711",
    }
    if audience is Audience.ON_CALL:
        facts = {"severity": "critical", "mode": "live", "paged_at": "2026-03-03 15:00 UTC", "list": "the list"}
        facts |= {"total": "3", "counts": "3 critical", "oldest": "1 min ago", "incidents": REF}
        plain |= {"ticket_id": None, "incident_ref": REF, "facts": facts}
    return Intent(**(plain | fields))


def a_ticket(matter: Matter) -> Ticket:
    category, subcategory = (Category.SAFETY, Subcategory.MANDATORY_REPORTING)
    if matter is Matter.ORDINARY:
        category, subcategory = (Category.ACCOUNT, Subcategory.LOGIN)
    routing = Routing(category, subcategory, Team.SAFETY, Team.SAFETY, Level.ONE)
    customer = Customer(name=NAME, email=EMAIL, number="N-4712", character="Moonbear", owner="Moon Studios")
    facts = {"resolution_details": "We called the school", "agent_name": "Quentin"}
    return Ticket("T-4711", customer=customer, routing=routing, facts=facts)


def subject_of(audience: Audience) -> Ticket | None:
    return None if audience is Audience.ON_CALL else a_ticket(Matter.SAFETY)


@pytest.mark.parametrize(
    ("matter", "value", "audience", "channel", "place"), CELLS, ids=["-".join(cell) for cell in CELLS]
)
def test_a_cell_decides_whether_a_fact_of_this_kind_passes(
    desk: Desk, matter: Matter, value: Value, audience: Audience, channel: Channel, place: str
) -> None:
    """Invariant 31: planted on every channel of the notifier for every audience; all who read there must be allowed to."""
    gate = Gate(MATRIX, {one: {**facts, "planted": (value,)} for one, facts in PRINTED_IN.items()})
    intent = an_intent(audience, channel=channel)
    ticket = None if audience is Audience.ON_CALL else a_ticket(matter)
    text = desk.text(intent)
    facts = desk.facts(intent, ticket)
    words = text.render(facts)
    if is_thin(intent):
        words = replace(words, body="", html=None)
    gate.check(intent, ticket, facts, words, text)
    printing = Printing(text, place)
    exit_ = EXITS[audience][channel][("subject", "body").index(place)]
    assert exit_
    forms = {MATRIX.form(matter, value, exit_, reader) for reader in READERS[audience]}
    for released, shown in ((False, {Form.PLAIN, Form.NAME}), (True, {Form.PLAIN, Form.NAME, Form.RELEASED})):
        if forms <= shown:
            gate.check(intent, ticket, facts, words, printing, released=released)
        else:
            with pytest.raises(TextStopped) as stopped:
                gate.check(intent, ticket, facts, words, printing, released=released)
            assert (stopped.value.value, stopped.value.exit) == (value, exit_)


HIDDEN = [
    (Audience.TEAM, Exit.MAIL_BODY, NAME, Value.PERSONAL_DATA),
    (Audience.TEAM, Exit.MAIL_BODY, EMAIL, Value.PERSONAL_DATA),
    (Audience.TEAM, Exit.MAIL_BODY, "Moon Studios", Value.PERSONAL_DATA),
    (Audience.TEAM, Exit.MAIL_BODY, "We called the school", Value.REPLY),
    (Audience.TEAM, Exit.MAIL_BODY, "mandatory_reporting", Value.INCIDENT_CLASS),
    (Audience.TEAM, Exit.MAIL_BODY, "mandatory reporting", Value.INCIDENT_CLASS),
    (Audience.TEAM, Exit.MAIL_SUBJECT, "T-4711", Value.TICKET_REFERENCE),
    (Audience.TEAM, Exit.MAIL_SUBJECT, "N-4712", Value.TICKET_REFERENCE),
    (Audience.TEAM, Exit.MAIL_BODY, "SI-99999999", Value.INCIDENT_REFERENCE),
    (Audience.CUSTOMER, Exit.CUSTOMER_MAIL, "mandatory_reporting", Value.INCIDENT_CLASS),
    (Audience.CUSTOMER, Exit.CUSTOMER_MAIL, REF, Value.INCIDENT_REFERENCE),
    (Audience.ON_CALL, Exit.MAIL_BODY, "SI-99999999", Value.INCIDENT_REFERENCE),
]


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize(("audience", "exit_", "word", "value"), HIDDEN, ids=[f"{h[0]}-{h[2]}" for h in HIDDEN])
def test_a_protected_value_does_not_pass_in_any_disguise(
    desk: Desk, audience: Audience, exit_: Exit, word: str, value: Value, disguise: str
) -> None:
    """Invariants 29 and 36: exact, case-folded, URL-, HTML-, base64- and quoted-printable-decoded."""
    intent, ticket = an_intent(audience), subject_of(audience)
    facts, text = desk.facts(intent, ticket), desk.text(intent)
    words = text.render(facts)
    hidden = DISGUISES[disguise](word)
    said = (
        replace(words, subject=f"{words.subject} {hidden}")
        if exit_ is Exit.MAIL_SUBJECT
        else replace(words, body=f"{words.body}\n-- {hidden} --\n")
    )
    desk.gate.check(intent, ticket, facts, words, text, released=True)
    with pytest.raises(TextStopped) as stopped:
        desk.gate.check(intent, ticket, facts, said, text, released=True)
    assert (stopped.value.value, stopped.value.exit) == (value, exit_)
    assert word not in str(stopped.value)


IN_HTML: dict[str, Callable[[str], str]] = {
    **{name: DISGUISES[name] for name in ("plain", "capitals", "url", "form", "html", "quoted-printable", "base64")},
    "between tags": lambda word: "<b></b>".join(word),
    "between escaped letters and tags": lambda word: "<i></i>".join(f"&#{ord(letter)};" for letter in word),
    "a comment": lambda word: f"<!-- {word} -->",
    "an address": lambda word: f'<img src="https://x.example/{quote(word, safe="")}.gif">',
}


@pytest.mark.parametrize("disguise", IN_HTML)
@pytest.mark.parametrize("word", [NAME, EMAIL, "mandatory_reporting", "SI-99999999"])
def test_a_protected_value_in_the_html_part_alone_does_not_pass(desk: Desk, word: str, disguise: str) -> None:
    """Both parts leave, so both are looked at, as bytes and as they are shown (S5)."""
    intent, ticket = an_intent(Audience.TEAM), a_ticket(Matter.SAFETY)
    facts, text = desk.facts(intent, ticket), desk.text(intent)
    words = text.render(facts)
    assert words.html is not None
    said = replace(words, html=words.html.replace("Level:", f"{IN_HTML[disguise](word)} Level:"))
    assert said != words
    with pytest.raises(TextStopped):
        desk.gate.check(intent, ticket, facts, said, text)


@pytest.mark.parametrize("name", ["Ticket", "team", "Safety", "A ticket is with your team", "a"])
def test_a_customer_who_is_called_like_our_own_words_stops_nothing(desk: Desk, name: str) -> None:
    """Only what stands there beyond the words of ours gives anything away."""
    ticket = a_ticket(Matter.SAFETY)
    assert ticket.customer
    ticket = replace(ticket, customer=replace(ticket.customer, name=name))
    assert desk.words(an_intent(Audience.TEAM), ticket).subject == "[Ticket] A ticket is with your team"


def test_a_number_that_is_an_address_does_not_reach_the_team(desk: Desk) -> None:
    """An upstream that numbers its tickets by their customers (S5)."""
    ticket = a_ticket(Matter.ORDINARY)
    assert ticket.customer
    ticket = replace(ticket, customer=replace(ticket.customer, number=EMAIL))
    with pytest.raises(TextStopped):
        desk.words(an_intent(Audience.TEAM), ticket)


@pytest.mark.parametrize("mode", ["live", "drill"])
@pytest.mark.parametrize(
    "subject",
    [
        f"[{REF}] crisis",
        f"[{REF}] Action needed now: critical",
        "[SI-1] Action needed now",
        "Hello",
        f"drill [{REF}] Action needed now",
    ],
)
def test_a_pages_subject_is_constants_and_the_reference(desk: Desk, mode: str, subject: str) -> None:
    """Invariant 30; DRILL first in a drill, and nowhere otherwise (37)."""
    intent = an_intent(Audience.ON_CALL)
    intent = replace(intent, facts={**intent.facts, "mode": mode})
    words = desk.words(intent, None)
    assert words.subject.startswith("DRILL ") is (mode == "drill")
    with pytest.raises(TextStopped):
        desk.gate.check(intent, None, desk.facts(intent, None), Words(subject, words.body), desk.text(intent))


@pytest.mark.parametrize(("mode", "other"), [("live", "drill"), ("drill", "live")])
def test_a_live_page_never_carries_the_word_drill_and_a_drill_always_does(desk: Desk, mode: str, other: str) -> None:
    """Invariant 37: the mode of the incident decides, whatever the text came to say."""
    page = an_intent(Audience.ON_CALL)
    as_mode, as_other = (replace(page, facts={**page.facts, "mode": said}) for said in (mode, other))
    with pytest.raises(TextStopped) as stopped:
        desk.gate.check(as_mode, None, desk.facts(as_mode, None), desk.words(as_other, None), desk.text(as_mode))
    assert stopped.value.value is Value.DRILL_FLAG


@pytest.mark.parametrize("ref", [REF, "SI-1\r\nBcc: x@y", "", "SI-IIIIIIII"])
@pytest.mark.parametrize("mode", ["live", "drill"])
def test_the_fixed_text_of_a_page_passes_the_gate(desk: Desk, ref: str, mode: str) -> None:
    """What a page falls back to says nothing but its reference, whatever the reference is (SN-25, SN-28)."""
    page = an_intent(Audience.ON_CALL, incident_ref=ref, facts={"mode": mode})
    desk.gate.check(
        page,
        None,
        {"incident": ref, "heading": "x", "call": "x", "severity": "x", "paged_at": "x"},
        desk.fixed_page(page),
        desk.text(page),
    )


@pytest.mark.parametrize("template", Template)
def test_every_text_passes_with_plain_facts_for_whom_it_is_meant(desk: Desk, template: Template) -> None:
    """At start: no text of ours is stopped by the gate of ours (2.18)."""
    for audience in AUDIENCES[template]:
        intent = an_intent(audience, template=template)
        intent = replace(
            intent, facts={"criterion": "report_submission", "share": "75%", "standing": "met", **intent.facts}
        )
        if template is Template.WATCH:
            watch = {"notice": "feed_silent", "source": "/agent", "paged_at": "2026-03-03 15:00 UTC"}
            intent = replace(intent, incident_ref=None, facts=watch)
        matter = Matter.ORDINARY if audience is Audience.CUSTOMER else Matter.SAFETY
        ticket = None if audience is Audience.ON_CALL else a_ticket(matter)
        assert desk.words(intent, ticket)


@pytest.mark.parametrize("template", [name for name in Template if AUDIENCES[name] != (Audience.CUSTOMER,)])
def test_a_text_that_prints_too_much_is_not_admitted(desk: Desk, template: Template) -> None:
    """And the fact is named; one that nobody has thought about counts as free text (S5, SN-27)."""
    text = Printing(desk.templates.text(template, "en"), "body")
    with pytest.raises(BadTemplate, match="planted gives away free_text on mail_body"):
        desk.gate.admit(template, text)


def test_without_a_matrix_nothing_passes(desk: Desk) -> None:
    """The default is no (S5)."""
    nothing = Gate(Confidentiality.model_validate({matter: {"channels": {}, "readers": {}} for matter in Matter}))
    for template in set(Template) - {Template.WATCH}:
        with pytest.raises(BadTemplate):
            nothing.admit(template, desk.templates.text(template, "en"))
