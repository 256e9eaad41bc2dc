"""The one gate between a text that was written and every channel: what the matrix does not show there is not sent (S5).

Two looks, since either can be wrong: at the facts a text prints, by their kind, and at the written bytes, for every value that we
know and this reader must not. Values are searched for as they are and as they would read once decoded. Words that come from us
(constants, names of teams, times) give nothing away, so only what stands there beyond them counts.
"""

import html
import quopri
import re
import unicodedata
from binascii import a2b_base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from urllib.parse import unquote_plus

from notifier.domain.facts import INCIDENT_REF, is_drill
from notifier.domain.notification import Audience, Channel, Intent, Template
from notifier.domain.templates import BadTemplate, Text, Words
from notifier.domain.ticket import REPORTED, Ticket
from shared.policy.confidentiality import Confidentiality, Exit, Matter, Reader, Value

Decode = Callable[[str], str]

READERS: Mapping[Audience, tuple[Reader, ...]] = {
    Audience.CUSTOMER: (Reader.CUSTOMER,),
    Audience.TEAM: (Reader.TEAM,),
    Audience.LEAD: (Reader.TEAM,),
    Audience.ON_CALL: (Reader.SUPPORT, Reader.SAFETY_TEAM, Reader.LEGAL_COMPLIANCE, Reader.LAST_RESPONDER),
}
"""Who may read what goes to an audience: a value has to be allowed for each of them."""
AUDIENCES: Mapping[Template, tuple[Audience, ...]] = {
    **dict.fromkeys(Template, (Audience.CUSTOMER,)),
    Template.TEAM_ASSIGNED: (Audience.TEAM,),
    Template.TEAM_ESCALATED: (Audience.TEAM,),
    Template.SLA_WARNING: (Audience.TEAM,),
    Template.SLA_DIGEST: (Audience.TEAM,),
    Template.LOOP_CUT: (Audience.TEAM,),
    Template.SLA_BREACHED: (Audience.TEAM, Audience.LEAD),
    Template.SLA_CORRECTED: (Audience.TEAM, Audience.LEAD),
    Template.MERGE_CIRCLE: (Audience.TEAM, Audience.LEAD),
    Template.PAGE: (Audience.ON_CALL,),
    Template.ROLL_UP: (Audience.ON_CALL,),
    Template.WATCH: (Audience.ON_CALL,),
}
"""To whom each text goes."""
EXITS: Mapping[Audience, Mapping[Channel, tuple[Exit, Exit | None]]] = {
    Audience.CUSTOMER: {Channel.EMAIL: (Exit.CUSTOMER_MAIL, Exit.CUSTOMER_MAIL)},
    Audience.TEAM: {
        Channel.EMAIL: (Exit.MAIL_SUBJECT, Exit.MAIL_BODY),
        Channel.SLACK: (Exit.SLACK_GENERAL, None),
        Channel.WEBHOOK: (Exit.WEBHOOK, None),
    },
    Audience.LEAD: {Channel.EMAIL: (Exit.MAIL_SUBJECT, Exit.MAIL_BODY)},
    Audience.ON_CALL: {
        Channel.EMAIL: (Exit.MAIL_SUBJECT, Exit.MAIL_BODY),
        Channel.SLACK: (Exit.SLACK_RESTRICTED, Exit.SLACK_RESTRICTED),
        Channel.WEBHOOK: (Exit.PAGER, None),
        Channel.APPRISE: (Exit.PAGER, None),
    },
}
"""By which exits subject and body leave. Where none is named for the body, the subject is all that is said."""
PRINTS: Mapping[str, tuple[Value, ...]] = {
    "ticket_number": (Value.TICKET_REFERENCE,),
    "reference": (Value.TICKET_REFERENCE,),
    "user_name": (Value.PERSONAL_DATA,),
    "rights_holder": (Value.PERSONAL_DATA,),
    "character": (Value.PERSONAL_DATA,),
    "owner": (Value.PERSONAL_DATA,),
    "agent_name": (Value.STAFF_IDENTITY,),
    "resolution_details": (Value.REPLY,),
    "issue_type": (Value.TOPIC,),
    "issue_response": (Value.TOPIC,),
    "team_name": (Value.TOPIC,),
    "escalation_details": (Value.TOPIC,),
    "about": (Value.TOPIC,),
    "level": (Value.TOPIC,),
    "reason": (Value.TOPIC,),
    "milestone": (Value.DUE_TIME,),
    "share": (Value.DUE_TIME,),
    "due_at": (Value.DUE_TIME,),
    "targets": (Value.TICKET_REFERENCE, Value.DUE_TIME),
    "standing": (Value.DUE_TIME,),
    "heading": (Value.DRILL_FLAG, Value.INCIDENT_REFERENCE),
    "call": (Value.DRILL_FLAG,),
    "incident": (Value.INCIDENT_REFERENCE,),
    "severity": (Value.SEVERITY,),
    "paged_at": (Value.AGE,),
    "total": (Value.COUNTS,),
    "counts": (Value.COUNTS, Value.SEVERITY),
    "oldest": (Value.AGE,),
    "incidents": (Value.INCIDENT_REFERENCE,),
    "list": (Value.LOGIN_LINK,),
    "notice": (),
    "source": (),
}
"""What each fact of a text gives away."""
PRINTS_OF_SAFETY: Mapping[str, tuple[Value, ...]] = {
    **PRINTS,
    **dict.fromkeys(("reference", "level", "reason", "issue_type", "issue_response"), ()),
    "team_name": (Value.SAFETY_WORD,),
    "escalation_details": (Value.INCIDENT_CLASS,),
    "about": (Value.SAFETY_WORD,),
}
"""The same where the matter is one of safety: there some facts are constants."""
PRINTED_IN: Mapping[Matter, Mapping[str, tuple[Value, ...]]] = {
    Matter.SAFETY: PRINTS_OF_SAFETY,
    Matter.ORDINARY: PRINTS,
}
_FROM_OUTSIDE = {
    Value.TICKET_REFERENCE,
    Value.INCIDENT_REFERENCE,
    Value.PERSONAL_DATA,
    Value.STAFF_IDENTITY,
    Value.REPLY,
}
"""Kinds of facts whose words are not ours."""
_PAGE_SUBJECT = re.compile(rf"(DRILL )?\[(SI|{INCIDENT_REF.pattern}|Safety watch)\] Action needed now")
_ANY_REFERENCE = re.compile(INCIDENT_REF.pattern, re.IGNORECASE)
_TAG = re.compile(r"<[^<>]*>")
_BASE64 = re.compile(r"[A-Za-z0-9+/]{8,}")
_OF_URLS = str.maketrans("-_", "+/")
_SHORT = 6
"""Shorter values are searched for as whole words."""


class TextStopped(Exception):  # noqa: N818
    """A text says what this reader must not know; it names the kind and the place, never the value."""

    def __init__(self, value: Value, exit_: Exit) -> None:
        super().__init__(f"{value} on {exit_}")
        self.value = value
        self.exit = exit_


@dataclass(frozen=True, slots=True)
class _Part:
    """What leaves by one exit: the text, how it would read with nothing but words of ours, the names of its facts."""

    exit: Exit
    text: str
    constants: Callable[[], str]
    prints: frozenset[str]
    is_html: bool = False


class Gate:
    """The matrix, asked about each text.

    Args:
        printed_in: what each fact gives away; one that does not stand there counts as free text, which is shown nowhere.
    """

    def __init__(
        self,
        matrix: Confidentiality,
        printed_in: Mapping[Matter, Mapping[str, tuple[Value, ...]]] = PRINTED_IN,
    ) -> None:
        self._matrix = matrix
        self._printed_in = printed_in
        self._known_hidden: dict[tuple[Matter, Exit, Audience, bool], frozenset[Value]] = {}

    def admit(self, template: Template, text: Text) -> None:
        """Let a text be used, for everybody it goes to without a person's release.

        Raises:
            BadTemplate: it prints what one of its readers must not know.
        """
        for audience in AUDIENCES[template]:
            for matter, channel in product(_matters(audience), EXITS[audience]):
                self._admit(text, audience, channel, matter)

    def check(
        self,
        intent: Intent,
        ticket: Ticket | None,
        facts: Mapping[str, str],
        words: Words,
        text: Text,
        *,
        released: bool = False,
    ) -> None:
        """Let the words of a text pass, both of its parts.

        Raises:
            TextStopped: it says too much.
        """
        matter = matter_of(intent, ticket)
        if is_thin(intent) and (words.body or words.html):
            raise TextStopped(Value.FREE_TEXT, EXITS[intent.audience][intent.channel][0])
        for part in self._parts(text, intent, matter, facts, words):
            hidden = self._hidden(matter, part.exit, intent.audience, released)
            for value in sorted({value for name in part.prints for value in self._values(name, matter)} & hidden):
                raise TextStopped(value, part.exit)
            named = frozenset() if Value.INCIDENT_REFERENCE in hidden else _references(facts)
            _scan(part, [(value, word) for value, word in known_values(intent, ticket) if value in hidden], named)
        if intent.audience is Audience.ON_CALL:
            _check_page(intent, words)

    def _admit(self, text: Text, audience: Audience, channel: Channel, matter: Matter) -> None:
        for exit_, names in zip(EXITS[audience][channel], text.prints, strict=True):
            for name in sorted(names if exit_ else ()):
                for value in self._values(name, matter):
                    if exit_ and not self._shows(matter, value, exit_, audience):
                        raise BadTemplate(f"{name} gives away {value} on {exit_} ({matter})")

    def _shows(self, matter: Matter, value: Value, exit_: Exit, audience: Audience, *, released: bool = False) -> bool:
        return all(self._matrix.shows(matter, value, exit_, reader, released=released) for reader in READERS[audience])

    def _hidden(self, matter: Matter, exit_: Exit, audience: Audience, released: bool) -> frozenset[Value]:
        place = (matter, exit_, audience, released)
        if place not in self._known_hidden:
            self._known_hidden[place] = frozenset(
                value for value in Value if not self._shows(matter, value, exit_, audience, released=released)
            )
        return self._known_hidden[place]

    def _parts(
        self, text: Text, intent: Intent, matter: Matter, facts: Mapping[str, str], words: Words
    ) -> Iterator[_Part]:
        def constants() -> Words:
            outside = {name for name in facts if _FROM_OUTSIDE.intersection(self._values(name, matter))}
            return text.render({name: "" if name in outside else fact for name, fact in facts.items()})

        (of_subject, of_body), (in_subject, in_body) = EXITS[intent.audience][intent.channel], text.prints
        yield _Part(of_subject, words.subject, lambda: constants().subject, in_subject)
        if of_body is None:
            return
        yield _Part(of_body, words.body, lambda: constants().body, in_body)
        if words.html is not None:
            yield _Part(of_body, words.html, lambda: constants().html or "", in_body, is_html=True)

    def _values(self, name: str, matter: Matter) -> tuple[Value, ...]:
        return self._printed_in[matter].get(name, (Value.FREE_TEXT,))


def matter_of(intent: Intent, ticket: Ticket | None) -> Matter:
    """Whether it is about an incident or a safety ticket."""
    is_safety = intent.audience is Audience.ON_CALL or (ticket is not None and ticket.is_safety)
    return Matter.SAFETY if is_safety else Matter.ORDINARY


def known_values(intent: Intent, ticket: Ticket | None) -> Iterator[tuple[Value, str]]:
    """Every value the notifier knows in this matter, by its kind."""
    facts = {**(ticket.facts if ticket else {}), **intent.facts}
    for name, fact in facts.items():
        if fact != REPORTED:
            yield from ((value, fact) for value in PRINTS.get(name, ()) if value in _FROM_OUTSIDE)
    if severity := facts.get("severity"):
        yield Value.SEVERITY, severity
    if ticket is None:
        return
    if customer := ticket.customer:
        own = (customer.name, customer.email, customer.character, customer.owner)
        yield from ((Value.PERSONAL_DATA, word) for word in own if word)
    yield from ((Value.TICKET_REFERENCE, word) for word in {ticket.id, ticket.number})
    if ticket.is_safety and ticket.routing and (subcategory := ticket.routing.subcategory):
        yield from ((Value.INCIDENT_CLASS, word) for word in (subcategory, subcategory.replace("_", " ")))


def is_thin(intent: Intent) -> bool:
    """Whether its subject is all that may be said where it goes (S5)."""
    return EXITS[intent.audience][intent.channel][1] is None


def _matters(audience: Audience) -> tuple[Matter, ...]:
    """The matters in which a text goes out without a person's release."""
    if audience is Audience.CUSTOMER:
        return (Matter.ORDINARY,)
    return (Matter.SAFETY,) if audience is Audience.ON_CALL else tuple(Matter)


def _references(facts: Mapping[str, str]) -> frozenset[str]:
    return frozenset(INCIDENT_REF.findall(f"{facts.get('incident', '')} {facts.get('incidents', '')}"))


def _scan(part: _Part, hidden: Sequence[tuple[Value, str]], named: frozenset[str]) -> None:
    """Search every reading of the text for what is hidden there, and for references of other incidents."""
    patterns = [(value, _pattern(word)) for value, word in hidden]
    readings = _readings_of_html(part.text) if part.is_html else _readings(part.text)
    for decode, text in readings:
        said = _folded(text)
        if any(reference.upper() not in named for reference in _ANY_REFERENCE.findall(said)):
            raise TextStopped(Value.INCIDENT_REFERENCE, part.exit)
        for value, pattern in patterns:
            found = len(pattern.findall(said))
            if found and found > len(pattern.findall(_folded(decode(part.constants())))):
                raise TextStopped(value, part.exit)


def _readings(text: str) -> Iterator[tuple[Decode, str]]:
    """The text as it stands, and what a reader's program could make of it in one or two steps; each reading once."""
    found: dict[str, Decode] = {text: str}
    for once in _DECODINGS:
        found.setdefault(once(text), once)
    for said, once in list(found.items())[1:]:
        for again in _DECODINGS:
            found.setdefault(again(said), _after(once, again))
    for said, decode in found.items():
        yield decode, said


def _readings_of_html(text: str) -> Iterator[tuple[Decode, str]]:
    """The text as it stands, as it is shown, and decoded in one step: of the plain part, which says the same, there are two."""
    yield str, text
    for decode in (_as_shown, *_DECODINGS):
        yield decode, decode(text)


def _check_page(intent: Intent, words: Words) -> None:
    """A page's subject is constants and the reference; DRILL comes first in a drill and never otherwise."""
    drill, (of_subject, of_body) = is_drill(intent), EXITS[intent.audience][intent.channel]
    if not _PAGE_SUBJECT.fullmatch(words.subject):
        raise TextStopped(Value.FREE_TEXT, of_subject)
    for exit_, text in ((of_subject, words.subject), (of_body, words.body)):
        if exit_ is None:
            continue
        if text.startswith("DRILL") is not drill or ("drill" in text.casefold()) is not drill:
            raise TextStopped(Value.DRILL_FLAG, exit_)


def _pattern(word: str) -> re.Pattern[str]:
    plain = re.escape(_folded(word))
    return re.compile(plain if len(word) >= _SHORT else rf"(?<!\w){plain}(?!\w)")


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _quoted_printable(text: str) -> str:
    return quopri.decodestring(text.encode(errors="replace")).decode(errors="replace")


def _base64_decoded(text: str) -> str:
    """What the stretches that look like base64 say, broken over lines or not, wherever in them it begins."""
    plain = text.translate(_OF_URLS)
    stretches = dict.fromkeys((*_BASE64.findall(plain), *_BASE64.findall("".join(plain.split()))))
    decoded = (a2b_base64(one[start:] + "A" * (start - len(one) & 3)) for one in stretches for start in range(4))
    return b"\n".join(decoded).decode(errors="replace")


def _after(first: Decode, second: Decode) -> Decode:
    return lambda text: second(first(text))


def _as_shown(text: str) -> str:
    """What a reader sees of HTML."""
    return html.unescape(_TAG.sub("", text))


_DECODINGS: tuple[Decode, ...] = (unquote_plus, html.unescape, _quoted_printable, _base64_decoded)
