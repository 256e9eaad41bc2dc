"""The words, against the source document and against whoever would like to add some (T1, T2)."""

import html
import re
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from notifier.app import read_edition
from notifier.domain.notification import Template
from notifier.domain.templates import (
    CLAIMS_OF,
    MAX_IN_BODY,
    MAX_IN_SUBJECT,
    MAX_TEXT,
    PLACEHOLDERS,
    BadTemplate,
    Templates,
    Text,
    TooLong,
    in_body,
    in_subject,
    missing,
)
from notifier.domain.wording import Edition
from shared.policy.load import load_policy

DOCUMENT = Path(__file__).parents[3] / "docs/policy/customer-service-support-workflows.md"
IN_DOCUMENT = {
    Template.INITIAL_RESPONSE: "Initial Response Template",
    Template.RESOLUTION: "Resolution Template",
    Template.ESCALATION: "Escalation Template",
    Template.MISSING_ATTRIBUTION: "User Reports Missing Attribution",
    Template.FALSE_POSITIVE: "False Positive Report",
    Template.RIGHTS_HOLDER_CLAIM: "Rights Holder Claim (Legal Escalation)",
    Template.IP_QUESTION: "General IP Question",
}
WRITTEN = {
    "ticket_number": "XXXXX",
    "user_name": "[User Name]",
    "agent_name": "[Support Agent Name]",
    "issue_type": "[Issue Type]",
    "issue_response": "[Issue-specific response]",
    "resolution_details": "[Resolution details]",
    "team_name": "[Team Name]",
    "escalation_details": "[Escalation details]",
    "character": "[Character]",
    "owner": "[Owner]",
    "rights_holder": "[Rights Holder]",
}
"""How the document writes each fact."""
FROM_PEOPLE = ("user_name", "agent_name", "resolution_details", "character", "owner", "rights_holder")
PLAIN = {name: f"a {name.replace('_', ' ')}" for names in PLACEHOLDERS.values() for name in names}


EDITION = read_edition(load_policy())
WRITTEN_ANYWHERE = [(template, language) for template in Template for language in EDITION.languages(template)]
everywhere = pytest.mark.parametrize(
    ("template", "language"),
    WRITTEN_ANYWHERE,
    ids=[f"{language}-{template}" for template, language in WRITTEN_ANYWHERE],
)


@pytest.fixture(scope="module")
def templates() -> Templates:
    return Templates(EDITION)


def edited(text: str, source: str, language: str = "en") -> Edition:
    """The edition after an edit of one file."""
    texts = {**EDITION.texts, language: {**EDITION.texts[language], text: source}}
    return Edition(**dict(EDITION) | {"texts": texts})


@pytest.mark.parametrize(("template", "title"), IN_DOCUMENT.items(), ids=IN_DOCUMENT)
def test_a_text_is_that_of_the_document_word_for_word(templates: Templates, template: Template, title: str) -> None:
    """The seven texts of the source document, with its own placeholders as values (T1)."""
    (text,) = re.findall(rf"### {re.escape(title)}\n\n```\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    words = templates.text(template, "en").render(WRITTEN)
    assert f"Subject: {words.subject}\n\n{words.body}" == text


@everywhere
def test_no_placeholder_of_the_document_is_left_in_a_text(
    templates: Templates, template: Template, language: str
) -> None:
    """Neither `[User Name]` nor `#XXXXX` can ever be sent, in no language and in neither part (T2, HD-66)."""
    words = templates.text(template, language).render(PLAIN)
    assert not re.search(r"\[(?!Ticket )[A-Z]|XXXXX|\{\{", f"{words.subject}\n{words.body}\n{words.html}")


@everywhere
def test_a_text_without_one_of_its_facts_is_not_rendered(
    templates: Templates, template: Template, language: str
) -> None:
    """Every single missing fact is named, and a text that lacks it fails instead of showing a hole (T2, HD-66, SN-26)."""
    facts = PLAIN | dict.fromkeys(CLAIMS_OF.get(template, ()), "reported")
    assert missing(template, facts) == ()
    for name in PLACEHOLDERS[template]:
        without = {other: value for other, value in facts.items() if other != name}
        assert missing(template, without) == (name,)
        with pytest.raises(UndefinedError):
            templates.text(template, language).render(without)


@pytest.mark.parametrize(("template", "claims"), CLAIMS_OF.items(), ids=CLAIMS_OF)
def test_a_text_that_claims_an_action_needs_its_report(template: Template, claims: tuple[str, ...]) -> None:
    """What nobody reported as done is missing like any other fact (T2)."""
    assert missing(template, PLAIN) == claims


@everywhere
def test_values_are_text_and_never_rendered(templates: Templates, template: Template, language: str) -> None:
    """A value that looks like a template, a placeholder or markup comes out as it is, in the HTML part as text (HD-67)."""
    odd = "{{ 7*7 }} {% for x in y %} [User Name] <img src=x> &amp; {{ user_name }}"
    facts = dict.fromkeys(PLACEHOLDERS[template], odd)
    words = templates.text(template, language).render(facts)
    assert words.subject.count(odd) + words.body.count(odd) == EDITION.texts[language][template].count("{{")
    if words.html is not None:
        assert "<img" not in words.html
        assert html.unescape(words.html).count(odd) == words.body.count(odd) + words.subject.count(odd)


BAD_FILES = {
    "Hello": "no subject line",
    "Subject: x\nHello": "no subject line",
    "Subject: x\n\n{% for x in range(9999999) %}{{ x }}{% endfor %}": "something else than print",
    "Subject: x\n\n{{ user_name | upper }}": "something else than print",
    "Subject: x\n\n{{ user_name.__class__.__mro__ }}": "something else than print",
    "Subject: x\n\n{{ user_name() }}": "something else than print",
    "Subject: x\n\n{{ 7 * 7 }}": "something else than print",
    "Subject: {{ user_name": "no subject line",
    "Subject: {{ user_name\n\nHello": "cannot be read",
    "Subject: x\n\nHi [User Name]": "nobody fills in",
    "Subject: [Ticket #XXXXX]\n\nHi": "nobody fills in",
    "Subject: x\n\n" + "x" * 10_000: "longer than",
}


@pytest.mark.parametrize(("source", "why"), BAD_FILES.items(), ids=range(len(BAD_FILES)))
def test_a_file_that_does_more_than_print_facts_is_no_text(source: str, why: str) -> None:
    """No loop, filter, call or attribute: whatever a file says, it cannot run on or reach anything (31, 32, 33)."""
    with pytest.raises(BadTemplate, match=why):
        Templates(edited("receipt", source)).text(Template.RECEIPT, "en")


def test_a_text_has_an_end() -> None:
    """Whatever its values (33)."""
    text = Text("Subject: x\n\n" + "{{ a }}" * 4, "en", EDITION.leaves_open["en"], None)
    with pytest.raises(TooLong):
        text.render({"a": "x" * (MAX_TEXT // 4 + 1)})


@everywhere
def test_a_value_as_long_as_values_can_be_stops_no_text(
    templates: Templates, template: Template, language: str
) -> None:
    """A name of a million letters is cut, and its message goes out."""
    assert templates.text(template, language).render(PLAIN | dict.fromkeys(FROM_PEOPLE, "y" * 1_000_000))


BREAKS = ("\r\n", "\n", "\r", "\x00", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\t", "\ud800", "\u202e")


@pytest.mark.parametrize("character", BREAKS, ids=lambda text: text.encode("unicode_escape").decode())
def test_a_subject_is_one_printable_line(character: str) -> None:
    """Line ends of every alphabet, NUL, lone surrogates and what turns text around become a space."""
    assert in_subject(f"a{character}Bcc: x@y.example") == "a Bcc: x@y.example"


def test_an_encoded_word_in_a_subject_is_broken_up() -> None:
    """Beside a non-ASCII character the mail package would decode it into a real header line."""
    assert "=?" not in in_subject("é =?UTF-8?Q?=0A?=Bcc: x@y.example")


def test_values_have_an_end() -> None:
    assert len(in_subject("x" * 10_000)) == MAX_IN_SUBJECT
    assert len(in_body("x" * 1_000_000)) == MAX_IN_BODY


def test_a_body_keeps_its_lines_and_loses_what_cannot_be_seen() -> None:
    assert in_body("one\r\ntwo\u2028three\x00\u202e\ud800\tfour 👩‍👧 é\n") == "one\ntwo\nthree\tfour 👩‍👧 é"
