"""confidentiality.yaml = the tables of docs/policy/confidentiality.md, cell by cell; what stands in neither is denied (S5)."""

import re
from itertools import product
from pathlib import Path

import pytest
from pydantic import ValidationError

from shared.policy.confidentiality import (
    Confidentiality,
    Exit,
    Form,
    Matter,
    Reader,
    Table,
    Value,
    load_confidentiality,
)

PAGE = (Path(__file__).parents[2] / "docs/policy/confidentiality.md").read_text()
MATRIX = load_confidentiality()
FORMS = {
    "y": Form.PLAIN,
    "h": Form.RELEASED,
    "l": Form.LOGIN,
    "r": Form.REFERENCE,
    "e": Form.SEALED,
    "n": Form.COUNT,
    "id": Form.ID,
    "name": Form.NAME,
    "hash": Form.HASH,
    "–": None,
}
TITLES = {Matter.SAFETY: "Incidents and safety tickets", Matter.ORDINARY: "Other tickets"}
Cells = dict[tuple[str, str], Form | None]


def cells(matter: Matter, by: str) -> Cells:
    """What the page says, by value and column."""
    text = re.split(rf"## {TITLES[matter]}: value by {by}\n", PAGE)[1].split("\n## ")[0]
    head, _, *rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return {(row[0], column): FORMS[cell] for row in rows for column, cell in zip(head[1:], row[1:], strict=True)}


PRINTED = {(matter, by): cells(matter, by) for matter in Matter for by in ("channel", "reader")}
EVERY_CELL = list(product(Value, Exit, Reader))


@pytest.mark.parametrize(("value", "exit_", "reader"), EVERY_CELL, ids=["-".join(cell) for cell in EVERY_CELL])
def test_a_cell_is_what_the_page_says_and_denied_where_it_says_nothing(
    value: Value, exit_: Exit, reader: Reader
) -> None:
    """Invariant 31: every value × channel × reader."""
    for matter in Matter:
        check_cell(matter, value, exit_, reader)


def check_cell(matter: Matter, value: Value, exit_: Exit, reader: Reader) -> None:
    may_see = PRINTED[matter, "reader"].get((value, reader)) is not None
    expected = PRINTED[matter, "channel"].get((value, exit_)) if may_see else None
    assert MATRIX.form(matter, value, exit_, reader) == expected
    assert MATRIX.shows(matter, value, exit_, reader) == (expected in (Form.PLAIN, Form.NAME))
    assert MATRIX.shows(matter, value, exit_, reader, released=True) == (
        expected in (Form.PLAIN, Form.NAME, Form.RELEASED)
    )


@pytest.mark.parametrize("matter", Matter)
def test_the_file_lists_nothing_that_the_page_does_not(matter: Matter) -> None:
    """And the page names no value, channel or reader that does not exist."""
    table: Table = getattr(MATRIX, matter)
    listed = {(value, exit_) for value, row in table.channels.items() for exit_ in row}
    assert listed == {cell for cell, form in PRINTED[matter, "channel"].items() if form is not None}
    seen = {(value, reader) for reader, values in table.readers.items() for value in values}
    assert seen == {cell for cell, form in PRINTED[matter, "reader"].items() if form is not None}


@pytest.mark.parametrize(
    ("channels", "readers"),
    [
        ({"shoe_size": {"logs": "plain"}}, {}),
        ({"severity": {"fax": "plain"}}, {}),
        ({"severity": {"logs": "whispered"}}, {}),
        ({"severity": {"logs": "plain"}}, {"press": ["severity"]}),
        ({"severity": {"logs": "plain"}}, {"support": ["age"]}),
    ],
    ids=["value", "channel", "form", "reader", "value that stands nowhere"],
)
def test_a_word_that_nobody_knows_is_refused(channels: dict, readers: dict) -> None:
    """A misspelt cell is no cell (2.18)."""
    table = {"channels": channels, "readers": readers}
    with pytest.raises(ValidationError):
        Confidentiality.model_validate({"safety": table, "ordinary": {"channels": {}, "readers": {}}})
