"""docs/texts.md says what the code does: which text when to whom, what it prints, and what it is held for (T1, T2)."""

from pathlib import Path
from typing import Any

import pytest

from notifier.domain.audience import TEXTS
from notifier.domain.desk import Desk
from notifier.domain.gate import AUDIENCES
from notifier.domain.notification import Audience, Intent, Template
from notifier.domain.templates import CLAIMS_OF, PLACEHOLDERS
from notifier.domain.ticket import Customer, Routing, Ticket
from shared.vocabulary import Level, Team

DOCUMENT = (Path(__file__).parents[3] / "docs/texts.md").read_text()


def table(title: str) -> dict[str, dict[str, str]]:
    """The rows of the table under a title, by their first cell."""
    lines = [line for line in DOCUMENT.split(f"## {title}\n")[1].split("\n## ")[0].splitlines() if line.startswith("|")]
    names, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: dict(zip(names, row, strict=True)) for row in rows}


TEXTS_TOLD, FACTS = table("Texts"), table("Facts")


def listed(cell: str) -> list[str]:
    return [word.strip() for word in cell.split(",") if word.strip()]


def test_every_text_and_every_fact_has_its_row() -> None:
    assert set(TEXTS_TOLD) == set(Template)
    assert set(FACTS) == {name for names in (*PLACEHOLDERS.values(), *CLAIMS_OF.values()) for name in names}


@pytest.mark.parametrize("template", Template)
def test_a_row_says_to_whom_a_text_goes_and_what_it_prints(template: Template) -> None:
    row = TEXTS_TOLD[template]
    assert listed(row["to"]) == list(AUDIENCES[template])
    assert listed(row["prints"]) == list(PLACEHOLDERS[template])
    assert listed(row["waits for"]) == list(CLAIMS_OF.get(template, ()))


def test_a_row_says_on_what_a_customer_is_told_it() -> None:
    """Text by trigger and subcategory (T1, T2, T4); a follow-up has no trigger but the resolution's text (T5)."""
    said = {
        (template, trigger, kind)
        for template, row in TEXTS_TOLD.items()
        if row["to"] == Audience.CUSTOMER and template != Template.FOLLOW_UP
        for trigger, kind in (word.split() for word in listed(row["when"]))
    }
    assert said == {
        (template, trigger, subcategory or "others")
        for trigger, by_subcategory in TEXTS.items()
        for subcategory, texts in by_subcategory.items()
        for template in texts
    }


@pytest.mark.parametrize("fact", FACTS)
def test_a_row_says_whether_a_text_to_a_customer_is_held_without_the_fact(desk: Desk, fact: str) -> None:
    """Of a ticket of which as little as possible is known (T2)."""
    plain: dict[str, Any] = {"team": "finance", "criterion": "escalation_due"}
    intent = Intent(
        identity=("x",),
        audience=Audience.CUSTOMER,
        recipient="requester",
        template=Template.RECEIPT,
        clauses=(),
        facts=plain,
    )
    nobody = Customer(name=None, email=None, number=None, character=None, owner=None)
    routing = Routing(None, None, Team.FINANCE, Team.FINANCE, Level.ONE)
    known = desk.facts(intent, Ticket("T-1", customer=nobody, routing=routing))
    to_customers = {
        name
        for template in Template
        if AUDIENCES[template] == (Audience.CUSTOMER,)
        for name in (*PLACEHOLDERS[template], *CLAIMS_OF.get(template, ()))
    }
    is_held = fact in to_customers and fact not in known
    assert FACTS[fact]["without it"].startswith("held") is is_held
