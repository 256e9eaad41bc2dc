"""The words: strict templates in a sandbox. A text without one of its facts is never rendered (T2).

Templates come as text from files that ship with the service, values as data; what was rendered is never rendered again. A text
prints facts and does nothing else: no filter, loop or condition is accepted, so that none can run on.
Values are cleaned before the mail package sees them: a line break, U+2028 or an encoded word in a subject would otherwise
stop the mail or, worse, add a header to it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from jinja2 import StrictUndefined, TemplateError, nodes
from jinja2 import Template as Compiled
from jinja2.sandbox import ImmutableSandboxedEnvironment

from notifier.domain.layout import blocks
from notifier.domain.notification import ESCALATED_TO_LEGAL, Template
from notifier.domain.wording import SOURCE_LANGUAGE, Edition, LanguageTexts, Wording

MAX_IN_BODY = 20_000
MAX_IN_SUBJECT = 120
MAX_FILE = 10_000
"""How long the file of a text may be."""
MAX_TEXT = 64_000
"""How long a body may become; the values of a text alone stay below it."""

PLACEHOLDERS: Mapping[Template, tuple[str, ...]] = {
    Template.INITIAL_RESPONSE: ("ticket_number", "issue_type", "user_name", "issue_response", "agent_name"),
    Template.RESOLUTION: ("ticket_number", "user_name", "resolution_details", "agent_name"),
    Template.ESCALATION: ("ticket_number", "user_name", "team_name", "escalation_details", "agent_name"),
    Template.MISSING_ATTRIBUTION: ("ticket_number", "user_name", "character", "owner"),
    Template.FALSE_POSITIVE: ("ticket_number", "user_name"),
    Template.RIGHTS_HOLDER_CLAIM: ("ticket_number", "rights_holder", "character"),
    Template.IP_QUESTION: ("ticket_number", "user_name"),
    Template.RECEIPT: ("ticket_number",),
    Template.FOLLOW_UP: ("ticket_number", "user_name", "agent_name"),
    Template.TEAM_ASSIGNED: ("reference", "ticket_number", "team_name", "about", "level"),
    Template.TEAM_ESCALATED: ("reference", "ticket_number", "team_name", "about", "level", "reason"),
    Template.SLA_WARNING: ("reference", "ticket_number", "team_name", "about", "milestone", "share", "due_at"),
    Template.SLA_DIGEST: ("team_name", "targets"),
    Template.SLA_BREACHED: ("reference", "ticket_number", "team_name", "about", "milestone", "due_at"),
    Template.SLA_CORRECTED: ("reference", "ticket_number", "team_name", "about", "milestone", "standing"),
    Template.MERGE_CIRCLE: ("reference", "ticket_number", "team_name", "about"),
    Template.LOOP_CUT: ("reference", "ticket_number", "team_name", "about"),
    Template.WATCH: ("heading", "notice", "source", "paged_at"),
    Template.PAGE: ("heading", "call", "incident", "severity", "paged_at"),
    Template.ROLL_UP: ("heading", "call", "total", "counts", "oldest", "incidents", "list"),
}
"""What each text prints, in every language."""

CLAIMS_OF: Mapping[Template, tuple[str, ...]] = {
    Template.MISSING_ATTRIBUTION: ("attribution_added",),
    Template.FALSE_POSITIVE: ("attribution_removed", "detection_reviewed"),
    Template.RIGHTS_HOLDER_CLAIM: ("attribution_added", "detection_reviewed", ESCALATED_TO_LEGAL),
}
"""What each text says was done; it waits until somebody has reported it (T2)."""

PLAIN_ONLY = frozenset((Template.PAGE, Template.ROLL_UP, Template.WATCH))
"""Texts without an HTML part: what wakes somebody is read on anything."""

_TURNS_TEXT_AROUND = r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_NOT_IN_BODY = re.compile(rf"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff{_TURNS_TEXT_AROUND}]")
_NOT_IN_SUBJECT = re.compile(rf"[\s\x00-\x1f\x7f-\x9f\ud800-\udfff{_TURNS_TEXT_AROUND}]+")
_PLACEHOLDER_OF_PEOPLE = re.compile(r"\[(?!Ticket #\{\{ ticket_number \}\}\])|XXXXX")
"""How people write what is still to be filled in: `[User Name]`, `#XXXXX`."""


class BadTemplate(ValueError):  # noqa: N818
    """A template file is missing, cannot be read, or prints something else than was declared."""


class TooLong(Exception):  # noqa: N818
    """A text became longer than any text is."""


@dataclass(frozen=True, slots=True)
class Words:
    """A text as it goes out; the HTML part says the same words."""

    subject: str
    body: str
    html: str | None = None


class Text:
    """One text in one language.

    Args:
        source: its file; the first line is the subject, the second is empty.
        layout: how its HTML part looks, if it has one.

    Raises:
        BadTemplate: it does more than print facts, or is not as a file of a text must be.
        jinja2.TemplateError: it cannot be read.
    """

    def __init__(self, source: str, language: str, leaves_open: LanguageTexts, layout: Compiled | None) -> None:
        subject, _, body = source.partition("\n")
        if not subject.startswith("Subject: ") or not body.startswith("\n"):
            raise BadTemplate("no subject line followed by an empty one")
        if len(source) > MAX_FILE:
            raise BadTemplate(f"longer than {MAX_FILE} characters")
        if _PLACEHOLDER_OF_PEOPLE.search(source):
            raise BadTemplate("a placeholder that nobody fills in")
        self.language = language
        self.leaves_open = leaves_open
        self.prints = (_printed(subject), _printed(body))
        """The names of the facts in its subject and in its body."""
        self._subject = _PLAIN.from_string(subject.removeprefix("Subject: "))
        self._body = _PLAIN.from_string(body[1:])
        self._layout = layout

    def render(self, facts: Mapping[str, str]) -> Words:
        """The text with these facts.

        Raises:
            jinja2.UndefinedError: a fact is missing; ask `missing` first.
            TooLong: its values are longer than values are.
        """
        subject = self._subject.render({name: in_subject(value) for name, value in facts.items()})
        body = self._body.render({name: in_body(value) for name, value in facts.items()})
        if len(body) > MAX_TEXT:
            raise TooLong
        if self._layout is None:
            return Words(subject, body)
        return Words(subject, body, self._layout.render(language=self.language, subject=subject, blocks=blocks(body)))


class Templates:
    """The texts of one edition, each compiled when it is first asked for.

    Args:
        default_language: who asked for no language, or for one without texts, is written to in this one.
    """

    def __init__(self, edition: Edition, default_language: str = SOURCE_LANGUAGE) -> None:
        self.edition = edition
        self._default = default_language
        self._texts: dict[tuple[Template, str], Text] = {}

    def wording(self, template: Template, locale: str | None) -> Wording:
        """In which words somebody with this locale is told it."""
        return self.edition.wording(template, locale=locale, default=self._default)

    def text(self, template: Template, language: str) -> Text:
        """
        Raises:
            BadTemplate: there is no such text, or it is not as a text must be.
        """
        if (template, language) not in self._texts:
            source = self.edition.texts.get(language, {}).get(template)
            if source is None:
                raise BadTemplate("there is no such text")
            try:
                layout = None if template in PLAIN_ONLY else self._layout
                self._texts[template, language] = Text(source, language, self.edition.leaves_open[language], layout)
            except TemplateError as error:
                raise BadTemplate(f"cannot be read: {error.message}") from error
        return self._texts[template, language]

    @cached_property
    def _layout(self) -> Compiled:
        return _ESCAPING.from_string(self.edition.layout)


def _environment(*, escapes: bool) -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=escapes, keep_trailing_newline=True)


_PLAIN, _ESCAPING = _environment(escapes=False), _environment(escapes=True)


def _printed(part: str) -> frozenset[str]:
    """The names that a part of a text prints.

    Raises:
        BadTemplate: it does anything else.
    """
    printed: set[str] = set()
    for output in _PLAIN.parse(part).body:
        for node in output.nodes if isinstance(output, nodes.Output) else [output]:
            if isinstance(node, nodes.Name):
                printed.add(node.name)
            elif not isinstance(node, nodes.TemplateData):
                raise BadTemplate("does something else than print facts")
    return frozenset(printed)


def missing(template: Template, facts: Mapping[str, str]) -> tuple[str, ...]:
    """The names of the facts without which this text may not go out, in any language (T2)."""
    needed = (*PLACEHOLDERS[template], *CLAIMS_OF.get(template, ()))
    return tuple(name for name in needed if name not in facts)


def in_subject(value: str) -> str:
    """One line of printable text that no mail package can take for the start of something else."""
    line = _NOT_IN_SUBJECT.sub(" ", value).strip()[:MAX_IN_SUBJECT]
    return line.replace("=?", "= ?").replace("?=", "? =")


def in_body(value: str) -> str:
    """Text with plain line ends and without characters that cannot be seen."""
    lines = value.replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n").replace("\u2029", "\n")
    return _NOT_IN_BODY.sub("", lines).strip()[:MAX_IN_BODY]
