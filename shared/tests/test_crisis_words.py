"""S6, E5: the shared list of crisis words."""

from importlib.resources import files

import pytest
import yaml

from shared.policy.crisis_words import CrisisWords, Phrases
from shared.policy.model import Policy


@pytest.fixture(scope="module")
def policy() -> Policy:
    return Policy.model_validate(yaml.safe_load((files("shared.policy") / "policy.yaml").read_text()))


@pytest.fixture(scope="module")
def words(policy: Policy) -> CrisisWords:
    return CrisisWords(policy)


def test_every_word_of_the_policy_is_found_under_its_number(words: CrisisWords, policy: Policy) -> None:
    """The n-th word of a subcategory is rule n, in capitals and between other words too."""
    for subcategory, phrases in policy.safety.crisis_words.items():
        for number, phrase in enumerate(phrases, start=1):
            found = words.find(f"Well, {phrase.upper()}!")
            assert f"{subcategory}.{number}" in [hit.rule_id for hit in found]


@pytest.mark.parametrize(
    "text",
    [
        "I want to die",
        "i WANT   to\ndie…",
        "want-to-die",
        "quiero mo\u0301rir",
        "Er schlagt mich",
        "ER SCHLÄGT MICH",
        "se\u00adlf harm",
        "self\u2011harm",
        "„suicide“",
    ],
)
def test_spelling_does_not_hide_a_word(words: CrisisWords, text: str) -> None:
    """Case, accents, spaces, hyphens and invisible characters are folded away."""
    assert words.find(text)


@pytest.mark.parametrize("text", ["", "suicidesquadron", "the diet I want", "want to. He died", "beats mean"])
def test_only_whole_words_count(words: CrisisWords, text: str) -> None:
    """Word borders on both sides."""
    assert words.find(text) == ()


def test_a_phrase_does_not_span_two_texts(words: CrisisWords) -> None:
    """Subject and body are texts of their own."""
    assert words.find("want to", "die") == ()


def test_each_rule_is_told_once_and_in_the_policys_order(words: CrisisWords) -> None:
    """However often and wherever it matches."""
    found = words.find("He is being abused", "suicide, suicide", "being abused")
    assert [hit.rule_id for hit in found] == ["crisis_detection.1", "mandatory_reporting.5"]


def test_phrases_that_overlap_are_all_found() -> None:
    """No match swallows another."""
    assert Phrases([(1, "a b"), (2, "b c"), (3, "b")]).find("a b c") == (1, 2, 3)


@pytest.mark.parametrize(
    "text", ["My son wants to kill himself", "She tried killing herself.", "ER WILL SICH UMBRINGEN"]
)
def test_a_parent_speaks_of_a_child(text: str, policy: Policy) -> None:
    """Crises are told in the third person too (S6)."""
    assert CrisisWords(policy).find(text)
