"""Where each fact of a text comes from, and what stands for one that nobody knows: as docs/texts.md says,
and a test compares.

A person can supply each fact of a held message (T2). What may be told of a safety ticket and of an incident is decided here, when
the text is written: staff mails name neither its number in the subject nor the kind of matter, pages carry reference and
severity only (S5). `gate.py` looks at the written text once more.
"""

import re
from collections.abc import Mapping, Sequence

from notifier.domain.notification import ESCALATED_TO_LEGAL, Intent, Template
from notifier.domain.ticket import REPORTED, Ticket
from notifier.domain.wording import LanguageTexts
from shared.vocabulary import Category, Criterion, Severity, Team

HAND_OVER = "hand_over"
WATCH_HEADING = "[Safety watch]"
NEEDS_A_LOOK = "The watch over safety incidents needs a look."
NOTICES = {
    "feed_silent": "A source of safety signals is not heard any more. Whatever it has to say does not reach us.",
    "feed_gap": "A source of safety signals has published more than has arrived here. What is missing stands in the event.",
    "storm_started": "Far more safety incidents than usual are being opened. Each is kept and paged for.",
    "destination_disabled": "A destination of ours says that it is gone. Nothing goes there until a person lifts that.",
    "paging_degraded": "Pages reach nobody at the moment. Each is tried again until it does.",
    "paging_restored": "Pages reach people again.",
    "step_empty": "A page for a safety incident found nobody on duty in a role. The next step was paged at once.",
}
"""What is told about the watch itself, by the fact that the event states."""
HANDED_OVER = "Hand-over: you have come on duty while an incident waits. It needs you now. Please acknowledge it."
INCIDENT_REF = re.compile(r"SI-[0-9A-HJKMNP-TV-Z]{8}")
_NO_REFERENCE = "SI"
NEEDS_YOU = "An incident needs you now. Please acknowledge it."
SEVERAL_NEED_YOU = "Incidents need you now, more than can be paged one by one."
EXERCISE = "DRILL. This is an exercise: do what you would do if it were none."
IN_TICKET = "see the ticket"
"""What staff mails of a safety ticket say of its level and reason: level 0 alone would tell its class (S5)."""


def known(intent: Intent, ticket: Ticket | None, texts: LanguageTexts) -> dict[str, str]:
    """The facts that are there, by name."""
    found: dict[str, str | None] = {}
    if ticket is not None:
        found |= _of_ticket(ticket, texts) | _for_staff(ticket, intent)
    found |= intent.facts
    if team := intent.facts.get("team"):
        found["team_name"] = texts.team_name(Team(team))
    if criterion := intent.facts.get("criterion"):
        found["escalation_details"] = texts.reason(Criterion(criterion))
    if notice := intent.facts.get("notice"):
        found |= {"heading": WATCH_HEADING, "notice": NOTICES.get(notice, NEEDS_A_LOOK)}
    if intent.incident_ref is not None:
        found |= _of_incident(intent, intent.incident_ref)
    elif intent.template is Template.ROLL_UP:
        found |= _of_roll_up(intent)
    return {name: value for name, value in found.items() if value is not None and value.strip()}


def targets(warnings: Sequence[Intent], tickets: Mapping[str, Ticket], *, more: int) -> dict[str, str]:
    """What a digest prints: a line for each warning, and how many it does not name (T6)."""
    lines = []
    for warning in warnings:
        ticket = tickets[warning.ticket_id or ""]
        number = " ".join(ticket.number.split())
        due = f"{warning.facts['share']} used, due {warning.facts['due_at']}"
        lines.append(f"Ticket {number}: {warning.facts['milestone']}, {due}")
    return {"targets": "\n".join(lines + ([f"and {more} more"] if more else []))}


def is_drill(intent: Intent) -> bool:
    """Whether the incident is an exercise from birth to archive."""
    return intent.facts.get("mode") == "drill"


def _of_ticket(ticket: Ticket, texts: LanguageTexts) -> dict[str, str | None]:
    routing, customer = ticket.routing, ticket.customer
    issue = texts.issue(routing.category, routing.subcategory) if routing else texts.general
    name = customer.name if customer and customer.name and customer.name.strip() else None
    return {
        "ticket_number": ticket.number,
        "user_name": name or texts.user_name,
        "agent_name": texts.agent_name,
        "rights_holder": name,
        "character": customer.character if customer else None,
        "owner": customer.owner if customer else None,
        "issue_type": issue.issue_type,
        "issue_response": issue.response,
        ESCALATED_TO_LEGAL: REPORTED if routing and routing.team is Team.LEGAL else None,
        **ticket.facts,
    }


def _for_staff(ticket: Ticket, intent: Intent) -> dict[str, str]:
    routing = ticket.routing
    level = f"{routing.level:d}" if routing else "not routed yet"
    if ticket.is_safety:
        return {"reference": "[Ticket]", "about": Category.SAFETY.value, "level": IN_TICKET, "reason": IN_TICKET}
    about = "not classified yet"
    if routing and routing.category:
        about = " / ".join(word for word in (routing.category, routing.subcategory) if word)
    reason = intent.facts.get("criterion", "").replace("_", " ")
    return {"reference": f"[Ticket #{ticket.number}]", "about": about, "level": level, "reason": reason}


def _of_roll_up(intent: Intent) -> dict[str, str]:
    """No reference of one incident stands in its subject, and only what has the form of one in its list."""
    drill = is_drill(intent)
    named = (line for line in intent.facts.get("incidents", "").splitlines() if INCIDENT_REF.fullmatch(line))
    return {
        "heading": f"{'DRILL ' if drill else ''}[{_NO_REFERENCE}]",
        "call": f"{EXERCISE} {SEVERAL_NEED_YOU}" if drill else SEVERAL_NEED_YOU,
        "incidents": "\n".join(named) or _NO_REFERENCE,
    }


def _of_incident(intent: Intent, incident_ref: str) -> dict[str, str]:
    """Reference and severity, each only in the form it must have: a page goes out whatever came in (S5, S6)."""
    reference = incident_ref if INCIDENT_REF.fullmatch(incident_ref) else _NO_REFERENCE
    severity = intent.facts.get("severity", "")
    call = HANDED_OVER if intent.facts.get("occasion") == HAND_OVER else NEEDS_YOU
    return {
        "heading": f"{'DRILL ' if is_drill(intent) else ''}[{reference}]",
        "call": f"{EXERCISE} {call}" if is_drill(intent) else call,
        "incident": reference,
        "severity": severity if severity.upper() in Severity.__members__ else "unknown",
    }
