"""The words, against the source document and against whoever would like to add some (T1, T2)."""

import re
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from notifier.app import read_templates
from notifier.domain.notification import Template
from notifier.domain.templates import (
    CLAIMS_OF,
    MAX_IN_BODY,
    MAX_IN_SUBJECT,
    PLACEHOLDERS,
    BadTemplate,
    Templates,
    in_body,
    in_subject,
)

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
PLAIN = {name: f"a {name.replace('_', ' ')}" for names in PLACEHOLDERS.values() for name in names}


@pytest.fixture(scope="module")
def templates() -> Templates:
    return Templates(read_templates())


@pytest.mark.parametrize(("template", "title"), IN_DOCUMENT.items(), ids=IN_DOCUMENT)
def test_a_text_is_that_of_the_document_word_for_word(templates: Templates, template: Template, title: str) -> None:
    """The seven texts of the source document, with its own placeholders as values (T1)."""
    (text,) = re.findall(rf"### {re.escape(title)}\n\n```\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    words = templates.render(template, WRITTEN)
    assert f"Subject: {words.subject}\n\n{words.body}" == text


@pytest.mark.parametrize("template", Template)
def test_no_placeholder_of_the_document_is_left_in_a_text(templates: Templates, template: Template) -> None:
    """Neither `[User Name]` nor `#XXXXX` can ever be sent (T2)."""
    words = templates.render(template, PLAIN)
    assert not re.search(r"\[(?!Ticket )[A-Z]|XXXXX|\{\{", f"{words.subject}\n{words.body}")


@pytest.mark.parametrize("template", Template)
def test_a_text_without_one_of_its_facts_is_not_rendered(templates: Templates, template: Template) -> None:
    """Every single missing fact is named, and a text that lacks it fails instead of showing a hole (T2)."""
    facts = PLAIN | dict.fromkeys(CLAIMS_OF.get(template, ()), "reported")
    assert templates.missing(template, facts) == ()
    for name in PLACEHOLDERS[template]:
        without = {other: value for other, value in facts.items() if other != name}
        assert templates.missing(template, without) == (name,)
        with pytest.raises(UndefinedError):
            templates.render(template, without)


@pytest.mark.parametrize(("template", "claims"), CLAIMS_OF.items(), ids=CLAIMS_OF)
def test_a_text_that_claims_an_action_needs_its_report(
    templates: Templates, template: Template, claims: tuple[str, ...]
) -> None:
    """What nobody reported as done is missing like any other fact (T2)."""
    assert templates.missing(template, PLAIN) == claims


def test_values_are_text_and_never_rendered(templates: Templates) -> None:
    """A value that looks like a template or a placeholder comes out as it is (HD-67)."""
    odd = "{{ 7*7 }} {% for x in y %} [User Name] <b>&amp;</b>"
    assert f"Hi {odd}," in templates.render(Template.IP_QUESTION, PLAIN | {"user_name": odd}).body


def test_a_template_that_prints_something_undeclared_is_refused_at_the_start() -> None:
    sources = read_templates()
    with pytest.raises(BadTemplate, match="receipt: prints"):
        Templates(sources | {Template.RECEIPT: sources[Template.RECEIPT] + "{{ child_name }}"})
    with pytest.raises(BadTemplate, match="receipt: no subject"):
        Templates({name: text for name, text in sources.items() if name is not Template.RECEIPT})


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
