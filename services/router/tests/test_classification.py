"""C1-C5: which category."""

import pytest

from router.domain.classification import Classification, Classifier, UpstreamWords
from router.domain.keywords import CRITERIA, HINTING, TELLING
from shared.vocabulary import CATEGORY_OF, SUBCATEGORIES, Category, Criterion, Subcategory, Tier


@pytest.fixture
def classify(classifier: Classifier):
    def classify(
        text: str, category: str | None = None, subcategory: str | None = None, tier: Tier = Tier.FREE
    ) -> Classification:
        upstream = UpstreamWords(category, subcategory) if category or subcategory else None
        return classifier.classify(classifier.read(text), upstream, tier)

    return classify


@pytest.mark.parametrize("subcategory", Subcategory)
def test_an_upstream_pair_is_taken_as_given(classify, subcategory: Subcategory) -> None:
    """Whatever the words say, with confidence 1 (C2)."""
    given = classify("I forgot my password and want a refund", CATEGORY_OF[subcategory].value, subcategory.value)
    assert (given.category, given.subcategory, given.confidence) == (CATEGORY_OF[subcategory], subcategory, 1.0)


def test_the_words_choose_inside_an_upstream_category(classify) -> None:
    """A category without a subcategory leaves the choice inside it to the words (C2)."""
    chosen = classify("My card was declined, please reset my password", "account")
    assert (chosen.category, chosen.subcategory) == (Category.ACCOUNT, Subcategory.PASSWORD_RESET)


def test_without_fitting_words_the_subcategory_stays_open(classify) -> None:
    """C2: else null."""
    assert classify("Hello, I have a question", "account").subcategory is None


@pytest.mark.parametrize(
    ("category", "subcategory"),
    [("hardware", None), ("billing", "teleportation"), ("billing", "login"), (None, "login")],
    ids=["unknown category", "unknown subcategory", "mismatched pair", "subcategory alone"],
)
def test_an_upstream_pair_that_is_not_understood_is_ignored(classify, category, subcategory) -> None:
    """The ticket's own words decide then (C2)."""
    decided = classify("I want my money back", category, subcategory)
    assert (decided.category, decided.subcategory) == (Category.BILLING, Subcategory.REFUND_REQUEST)


@pytest.mark.parametrize(
    ("text", "subcategory"),
    [
        ("Story generation not working since the update", Subcategory.STORY_GENERATION),
        ("My payment failed again", Subcategory.PAYMENT_FAILURE),
        ("I can’t log in any more", Subcategory.LOGIN),
        ("He olvidé mi contraseña", Subcategory.PASSWORD_RESET),
        ("ICH BITTE UM RÜCKERSTATTUNG", Subcategory.REFUND_REQUEST),
        ("The story was too scary for her", Subcategory.AGE_APPROPRIATENESS),
        ("You flagged my own character as somebody else's", Subcategory.FALSE_POSITIVE),
        ("Under the GDPR, delete my data", Subcategory.PRIVACY_CONCERN),
    ],
    ids=lambda value: str(value)[:20],
)
def test_without_an_upstream_category_the_words_decide(classify, text: str, subcategory: Subcategory) -> None:
    """C2; whole words, whatever case, accents and apostrophes."""
    decided = classify(text)
    assert (decided.category, decided.subcategory) == (CATEGORY_OF[subcategory], subcategory)


@pytest.mark.parametrize("text", ["", "Hello!", "Where can I buy the plush dragon?", "你好，我有一个问题"])
def test_what_the_words_do_not_tell_goes_to_triage(classify, text: str) -> None:
    """Category and subcategory null, never a guess (C3)."""
    unsure = classify(text)
    assert (unsure.category, unsure.subcategory, unsure.confidence, unsure.clauses) == (None, None, 0.0, ("C3",))


def test_a_single_hint_is_a_candidate_in_triage(classify) -> None:
    """Below the policy's threshold the candidates are kept in `secondary` (C3)."""
    unsure = classify("A question about the voice")
    assert unsure.primary is None
    assert [(topic.subcategory, topic.confidence) for topic in unsure.secondary] == [(Subcategory.VOICE_SYNTHESIS, 0.4)]


def test_two_hints_of_one_subcategory_name_it(classify) -> None:
    """C3: confidence grows with independent hints."""
    decided = classify("The narrator has a strange voice")
    assert (decided.subcategory, decided.confidence) == (Subcategory.VOICE_SYNTHESIS, 0.64)


def test_both_things_a_ticket_is_about_are_kept(classify) -> None:
    """The example of C5."""
    decided = classify("My payment failed and the story frightened my son")
    assert decided.subcategory is Subcategory.AGE_APPROPRIATENESS
    assert [topic.subcategory for topic in decided.secondary] == [Subcategory.PAYMENT_FAILURE]


@pytest.mark.parametrize(
    ("text", "first", "second"),
    [
        ("Delete my data, the story was inappropriate", "privacy_concern", "inappropriate_content"),
        ("The story was inappropriate and too scary", "inappropriate_content", "age_appropriateness"),
        ("I want a refund, and there is no attribution", "missing_attribution", "refund_request"),
    ],
    ids=["safety first", "inappropriate content next", "then the earlier due time: 24 h of L5 before 48 h of L1"],
)
def test_of_several_topics_one_leads(classify, text: str, first: str, second: str) -> None:
    """C5's order."""
    decided = classify(text)
    assert (decided.subcategory, decided.secondary[0].subcategory) == (first, second)


@pytest.mark.parametrize(
    ("text", "subcategory"),
    [("I want to die", Subcategory.CRISIS_DETECTION), ("She is being abused", Subcategory.MANDATORY_REPORTING)],
)
@pytest.mark.parametrize("upstream", [(None, None), ("billing", None), ("ip_attribution", "rights_holder_claim")])
def test_words_of_crisis_overrule_upstream(classify, text: str, subcategory: Subcategory, upstream) -> None:
    """HD-55: safety wins, upstream is kept beside it (C4, E5)."""
    decided = classify(text, *upstream)
    assert (decided.category, decided.subcategory) == (Category.SAFETY, subcategory)
    if upstream[1]:
        assert upstream[1] in [topic.subcategory for topic in decided.secondary]


def test_words_of_crisis_lead_over_another_safety_subcategory(classify) -> None:
    """Crisis before abuse, and both before what upstream said: the earlier due time (C5, L6)."""
    decided = classify("He is being abused and wants to die", "safety", "content_moderation")
    assert decided.subcategory is Subcategory.CRISIS_DETECTION
    assert {topic.subcategory for topic in decided.secondary} == {"mandatory_reporting", "content_moderation"}


def test_evidence_names_rules_and_never_words(classify) -> None:
    """C3; a customer's words stay with the customer."""
    evidence = classify("I want to die. My payment failed. I will sue you!").evidence
    assert evidence == (
        "crisis_detection.6",
        "legal_action_threatened.2",
        "payment_failure.1",
        "payment_failure.1.hint",
    )


def test_the_version_tells_one_word_list_from_another(classifier: Classifier) -> None:
    """C3."""
    assert classifier.version.startswith("words-1@")


def test_every_rule_of_the_list_can_be_told_from_the_others() -> None:
    """Crisis words are the policy's alone (S6), and a word list names only what it may."""
    named = {*TELLING, *HINTING}
    assert not named & {"crisis_detection", "mandatory_reporting", "rights_holder_claim"}
    assert {sub for subs in SUBCATEGORIES.values() for sub in subs} - named == {
        "crisis_detection",
        "mandatory_reporting",
        "rights_holder_claim",
    }
    assert set(CRITERIA) <= set(Criterion)
