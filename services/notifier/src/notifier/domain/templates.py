"""The words: strict templates in a sandbox. A text without one of its facts is never rendered (T2).

Templates come as text from files that ship with the service, values as data; what was rendered is never rendered again.
Values are cleaned before the mail package sees them: a line break, U+2028 or an encoded word in a subject would otherwise
stop the mail or, worse, add a header to it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from jinja2 import StrictUndefined, meta
from jinja2 import Template as Compiled
from jinja2.sandbox import ImmutableSandboxedEnvironment

from notifier.domain.notification import ESCALATED_TO_LEGAL, Template

MAX_IN_BODY = 20_000
MAX_IN_SUBJECT = 120

PLACEHOLDERS: Mapping[Template, tuple[str, ...]] = {
    Template.INITIAL_RESPONSE: ("ticket_number", "issue_type", "user_name", "issue_response", "agent_name"),
    Template.RESOLUTION: ("ticket_number", "user_name", "resolution_details", "agent_name"),
    Template.ESCALATION: ("ticket_number", "user_name", "team_name", "escalation_details", "agent_name"),
    Template.MISSING_ATTRIBUTION: ("ticket_number", "user_name", "character", "owner"),
    Template.FALSE_POSITIVE: ("ticket_number", "user_name"),
    Template.RIGHTS_HOLDER_CLAIM: ("ticket_number", "rights_holder", "character"),
    Template.IP_QUESTION: ("ticket_number", "user_name"),
    Template.RECEIPT: ("ticket_number",),
    Template.TEAM_ASSIGNED: ("reference", "ticket_number", "team_name", "about", "level"),
    Template.TEAM_ESCALATED: ("reference", "ticket_number", "team_name", "about", "level", "reason"),
    Template.SLA_WARNING: ("reference", "ticket_number", "team_name", "about", "milestone", "share", "due_at"),
    Template.SLA_BREACHED: ("reference", "ticket_number", "team_name", "about", "milestone", "due_at"),
    Template.SLA_CORRECTED: ("reference", "ticket_number", "team_name", "about", "milestone", "standing"),
    Template.MERGE_CIRCLE: ("reference", "ticket_number", "team_name", "about"),
    Template.WATCH: ("heading", "notice", "source", "paged_at"),
    Template.PAGE: ("heading", "call", "incident", "severity", "paged_at"),
    Template.ROLL_UP: ("heading", "call", "total", "counts", "oldest", "incidents", "list"),
}
"""What each text prints."""

CLAIMS_OF: Mapping[Template, tuple[str, ...]] = {
    Template.MISSING_ATTRIBUTION: ("attribution_added",),
    Template.FALSE_POSITIVE: ("attribution_removed", "detection_reviewed"),
    Template.RIGHTS_HOLDER_CLAIM: ("attribution_added", "detection_reviewed", ESCALATED_TO_LEGAL),
}
"""What each text says was done; it waits until somebody has reported it (T2)."""

_TURNS_TEXT_AROUND = r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_NOT_IN_BODY = re.compile(rf"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff{_TURNS_TEXT_AROUND}]")
_NOT_IN_SUBJECT = re.compile(rf"[\s\x00-\x1f\x7f-\x9f\ud800-\udfff{_TURNS_TEXT_AROUND}]+")


class BadTemplate(ValueError):  # noqa: N818
    """A template file is missing, cannot be read, or prints something else than was declared."""


@dataclass(frozen=True, slots=True)
class Words:
    """A text as it goes out."""

    subject: str
    body: str


class Templates:
    """All texts, compiled and checked once.

    Args:
        sources: the files by template; the first line of each is its subject, the second is empty.

    Raises:
        BadTemplate: naming the template.
    """

    def __init__(self, sources: Mapping[Template, str]) -> None:
        environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
        self._compiled: dict[Template, tuple[Compiled, Compiled]] = {}
        self._prints: dict[Template, tuple[frozenset[str], frozenset[str]]] = {}
        for template in Template:
            first, _, rest = sources.get(template, "").partition("\n")
            if not first.startswith("Subject: ") or not rest.startswith("\n"):
                raise BadTemplate(f"{template}: no subject line followed by an empty one")
            in_each = [frozenset(meta.find_undeclared_variables(environment.parse(part))) for part in (first, rest)]
            printed = in_each[0] | in_each[1]
            if printed != set(PLACEHOLDERS[template]):
                raise BadTemplate(f"{template}: prints {', '.join(sorted(printed))}")
            self._prints[template] = (in_each[0], in_each[1])
            subject = environment.from_string(first.removeprefix("Subject: "))
            self._compiled[template] = (subject, environment.from_string(rest[1:]))

    def missing(self, template: Template, facts: Mapping[str, str]) -> tuple[str, ...]:
        """The names of the facts without which this text may not go out (T2)."""
        needed = (*PLACEHOLDERS[template], *CLAIMS_OF.get(template, ()))
        return tuple(name for name in needed if name not in facts)

    def prints(self, template: Template) -> tuple[frozenset[str], frozenset[str]]:
        """The names of the facts in its subject and in its body."""
        return self._prints[template]

    def render(self, template: Template, facts: Mapping[str, str]) -> Words:
        """The text with these facts.

        Raises:
            jinja2.UndefinedError: a fact is missing; ask `missing` first.
        """
        subject, body = self._compiled[template]
        return Words(
            subject.render({name: in_subject(value) for name, value in facts.items()}),
            body.render({name: in_body(value) for name, value in facts.items()}),
        )


def in_subject(value: str) -> str:
    """One line of printable text that no mail package can take for the start of something else."""
    line = _NOT_IN_SUBJECT.sub(" ", value).strip()[:MAX_IN_SUBJECT]
    return line.replace("=?", "= ?").replace("?=", "? =")


def in_body(value: str) -> str:
    """Text with plain line ends and without characters that cannot be seen."""
    lines = value.replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n").replace("\u2029", "\n")
    return _NOT_IN_BODY.sub("", lines).strip()[:MAX_IN_BODY]
