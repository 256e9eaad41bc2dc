"""Is this post a fact we accept, and which event is it?"""

from datetime import UTC, datetime, timedelta

import pytest

from intake.domain.acceptance import (
    Fault,
    Moment,
    SafetyWatch,
    Said,
    TooOld,
    Window,
    repeatable_by,
    unknown_words,
)
from shared.policy.load import load_policy
from shared.vocabulary import SUBCATEGORIES, Criterion, Subcategory

NOW = datetime(2026, 3, 3, 15, 0, tzinfo=UTC)
WINDOW = Window(max_age=timedelta(days=7), skew=timedelta(seconds=1))
SAFE = Said("billing", "payment_failure", texts=("My payment failed", "Please help."))
POLICY = load_policy()


@pytest.fixture(scope="module")
def watch() -> SafetyWatch:
    return SafetyWatch(POLICY)


def test_an_event_without_a_time_happened_at_receipt() -> None:
    """Nothing else is known of it (L13)."""
    assert WINDOW.place(None, NOW) == Moment(NOW)


def test_an_event_of_the_past_keeps_its_time() -> None:
    """The clock judges by the time at which it happened, not by arrival (L13)."""
    assert WINDOW.place(NOW - timedelta(days=7), NOW) == Moment(NOW - timedelta(days=7))


def test_an_event_older_than_the_window_is_refused() -> None:
    """Its repetition could no longer be recognised (L13)."""
    with pytest.raises(TooOld):
        WINDOW.place(NOW - timedelta(days=7, microseconds=1), NOW)


def test_a_future_time_is_clamped_to_receipt_and_kept_as_a_claim() -> None:
    """A future time is clamped to receipt and flagged (L13)."""
    claimed = NOW + timedelta(hours=2)
    assert WINDOW.place(claimed, NOW) == Moment(NOW, claimed_at=claimed)


def test_a_second_ahead_is_the_skew_of_two_machines() -> None:
    """Machines disagree by less than a second all the time; that is no claim about the future (L13)."""
    assert WINDOW.place(NOW + timedelta(seconds=1), NOW) == Moment(NOW + timedelta(seconds=1))


@pytest.mark.parametrize(
    ("category", "subcategory"),
    [(category.value, sub.value) for category, subs in SUBCATEGORIES.items() for sub in subs],
)
def test_every_pair_of_the_policy_is_known(category: str, subcategory: str) -> None:
    """The closed vocabulary of 28 subcategories (C1)."""
    assert unknown_words(Said(category, subcategory), POLICY) == ()


@pytest.mark.parametrize("criterion", list(Criterion))
def test_every_criterion_is_known_as_a_signal_and_as_a_request(criterion: Criterion) -> None:
    """The closed vocabulary of criteria (E0)."""
    assert unknown_words(Said(signals=(criterion.value,), criterion=criterion.value), POLICY) == ()


@pytest.mark.parametrize(
    ("said", "pointers"),
    [
        pytest.param(Said("hardware"), ["/category"], id="unknown category"),
        pytest.param(Said("billing", "refunds"), ["/subcategory"], id="unknown subcategory"),
        pytest.param(Said("billing", "login"), ["/subcategory"], id="subcategory of another category"),
        pytest.param(Said(None, "login"), ["/subcategory"], id="subcategory without its category"),
        pytest.param(Said(signals=("legal_dispute", "angry")), ["/signals/1"], id="unknown signal"),
        pytest.param(Said(criterion="angry"), ["/criterion"], id="unknown criterion"),
        pytest.param(Said("x", signals=("y",)), ["/category", "/signals/0"], id="two at once"),
    ],
)
def test_an_unknown_word_is_named_by_its_place(said: Said, pointers: list[str]) -> None:
    """An unknown or mismatched pair, or a word that is not in E0, is an error over HTTP (C2, E7)."""
    assert [fault.pointer for fault in unknown_words(said, POLICY)] == pointers


def test_a_pointer_is_told_from_the_root_of_the_body() -> None:
    """Pointers are JSON pointers into what was posted."""
    assert Fault("/criterion", "odd").below("/data") == Fault("/data/criterion", "odd")


def test_an_ordinary_ticket_is_not_flagged(watch: SafetyWatch) -> None:
    """Only what says safety is (S6)."""
    assert watch.flag(SAFE) is None


def test_upstreams_safety_category_is_a_flag(watch: SafetyWatch) -> None:
    """The upstream category says safety (S6)."""
    flag = watch.flag(Said("safety", "privacy_concern"))
    assert flag is not None
    assert (flag.subcategory, flag.evidence) == (Subcategory.PRIVACY_CONCERN, ("upstream.category",))


def test_a_safety_category_without_subcategory_is_a_flag_without_one(watch: SafetyWatch) -> None:
    """The bridge decides what that means (S8)."""
    flag = watch.flag(Said("safety"))
    assert flag is not None
    assert flag.subcategory is None


@pytest.mark.parametrize("signal", ["report_submission", "legal_compliance_question"])
def test_a_criterion_of_the_safety_row_is_a_flag(watch: SafetyWatch, signal: str) -> None:
    """The signals say safety (S6, E0)."""
    flag = watch.flag(Said("billing", signals=(signal,)))
    assert flag is not None
    assert flag.evidence == (f"signal.{signal}",)


@pytest.mark.parametrize("signal", ["regulatory_inquiry", "law_enforcement_request", "security_vulnerability"])
def test_a_criterion_that_holds_in_every_category_is_no_flag(watch: SafetyWatch, signal: str) -> None:
    """A regulator may ask about an invoice: the category is kept (E5)."""
    assert watch.flag(Said("billing", signals=(signal,))) is None


def test_words_of_crisis_are_a_flag_whatever_the_category(watch: SafetyWatch) -> None:
    """The shared list of crisis words matches; the evidence names the rule, never the words (S6, C4)."""
    flag = watch.flag(Said("billing", texts=("Refund", "My son says he wants to die")))
    assert flag is not None
    assert flag.subcategory is Subcategory.CRISIS_DETECTION
    assert all(one.startswith("words.crisis_detection.") for one in flag.evidence)


def test_the_gravest_subcategory_is_told(watch: SafetyWatch) -> None:
    """Upstream's milder word does not hide a crisis (C4, S8)."""
    flag = watch.flag(Said("safety", "privacy_concern", texts=("", "I want to die")))
    assert flag is not None
    assert flag.subcategory is Subcategory.CRISIS_DETECTION
    assert "upstream.category" in flag.evidence


def test_a_retry_is_known_by_its_idempotency_key_first() -> None:
    """The key says which try it belongs to, whatever else the post holds; producers do not meet."""
    assert repeatable_by("a", "k", "T-1") == repeatable_by("a", "k", None)
    assert repeatable_by("a", "k", None) != repeatable_by("b", "k", None)


def test_a_retry_is_known_by_its_ticket_id_else() -> None:
    """A ticket is created once."""
    assert repeatable_by("a", None, "T-1") == repeatable_by("a", None, "T-1")
    assert repeatable_by("a", None, "T-1") != repeatable_by("a", "T-1", None)


def test_a_post_with_neither_is_always_new() -> None:
    """Nothing tells a retry from a second ticket with the same words."""
    assert repeatable_by("a", None, None) is None
