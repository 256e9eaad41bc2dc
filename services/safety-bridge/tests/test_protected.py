"""What is set apart from an agent's event: by place, never by guessing at words (S5)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safety_bridge.domain.protected import FIELDS, preserved_until, set_apart

CANARY = "Mum is Ada, Oak Hill 5"
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from([*FIELDS, "child_name", "transcript"]) | st.text()


def test_unknown_and_unfit_fields_are_named_by_place_alone() -> None:
    """SN-23: an extra name, a transcript, an address where a pseudonym belongs, also deep inside."""
    apart = set_apart(
        {
            "agent_incident_id": "A-1",
            "severity": "critical",
            "child_name": "Ada",
            "transcript": [CANARY],
            "story_ref": "ada@example.org",
            "subject_ref": "sub-81c2",
            "report": {"state": "required", "receipt_ref": "R-7", "reporterName": "Ada"},
            "evidence_refs": ["ev-1", CANARY],
        }
    )
    assert apart.places == ("/child_name", "/transcript", "/story_ref", "/report/reporterName", "/evidence_refs/1")
    assert apart.quarantined["/story_ref"] == "ada@example.org"
    assert apart.protected == {"/subject_ref": "sub-81c2", "/report/receipt_ref": "R-7", "/evidence_refs/0": "ev-1"}


def test_a_field_whose_name_is_somebodys_words_is_told_as_a_star() -> None:
    """The name of a field can hold a child's words as well as its value (S5)."""
    apart = set_apart({CANARY: 1, "zanzibar": 2, "report": {CANARY: 3}})
    assert apart.places == ("/*", "/report/*")
    assert set(apart.quarantined) == {f"/{CANARY}", "/zanzibar", f"/report/{CANARY}"}


@pytest.mark.parametrize("severity", ["urgent", 4, ["high"], {"is": "high"}])
def test_a_severity_nobody_knows_is_kept_and_told(severity: Any) -> None:
    """SN-53: the raw value stays, sealed; nothing said and known words in any case are no fault."""
    assert set_apart({"severity": severity}).places == ("/severity",)
    assert set_apart({"severity": severity}).quarantined == {"/severity": severity}
    assert set_apart({"severity": "CRITICAL "}).places == set_apart({"severity": None}).places == ()


@given(st.dictionaries(NAMES, ANY_JSON, max_size=8))
def test_whatever_comes_is_either_known_and_fit_or_set_apart_and_never_stops_a_signal(data: dict[str, Any]) -> None:
    """Invariant 5: for every document; and what is told of it is made of our own words."""
    apart = set_apart(data)
    preserved_until(data)
    assert not apart.protected.keys() & apart.quarantined.keys()
    unknown = {f"/{name}" for name, value in data.items() if name not in FIELDS and value is not None}
    assert unknown <= apart.quarantined.keys()
    told = {part for place in apart.places for part in place.split("/") if part and not part.isdigit()}
    inner = {name for field in FIELDS.values() if hasattr(field, "fields") for name in field.fields}
    assert told <= {*FIELDS, *inner, "*", "child_name", "transcript"} | {name for name in told if name.isalpha()}


def test_a_date_to_preserve_until_is_read() -> None:
    """4.4: the latest one wins later; a date without a zone says too little."""
    assert preserved_until({"preserve": {"until": "2028-01-01T00:00:00Z"}}) is not None
    assert preserved_until({"preserve": {"until": "2028-01-01T00:00:00"}}) is None
    assert preserved_until({"preserve": CANARY}) is None
