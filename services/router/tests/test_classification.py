"""C1-C5: which category."""

import pytest

from router.domain.classification import Classification, Classifier, UpstreamWords
from shared.vocabulary import CATEGORY_OF, Category, Subcategory, Tier


@pytest.fixture
def classify(classifier: Classifier):
    def classify(
        text: str, category: str | None = None, subcategory: str | None = None, tier: Tier = Tier.FREE
    ) -> Classification:
        upstream = UpstreamWords(category, subcategory) if category or subcategory else None
        return classifier.classify((text,), classifier.read(text), upstream, tier)

    return classify


@pytest.mark.parametrize("subcategory", Subcategory)
def test_an_upstream_pair_is_taken_as_given(classify, subcategory: Subcategory) -> None:
    """Whatever the words say, with confidence 1 (C2)."""
    given = classify("I forgot my password and want a refund", CATEGORY_OF[subcategory].value, subcategory.value)
    assert (given.category, given.subcategory, given.confidence) == (CATEGORY_OF[subcategory], subcategory, 1.0)


def test_the_words_choose_inside_an_upstream_category(classify) -> None:
    """A category without a subcategory leaves the choice inside it to the words (C2)."""
    chosen = classify("My card was declined, please reset my password", "account")
    assert (chosen.category, chosen.subcategory, chosen.confidence) == (
        Category.ACCOUNT,
        Subcategory.PASSWORD_RESET,
        1.0,
    )


def test_without_fitting_words_the_subcategory_stays_open(classify) -> None:
    """C2: else null."""
    assert classify("", "account").subcategory is None


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
        ("Story generation has not been working since the update, it is stuck", Subcategory.STORY_GENERATION),
        ("The narrator speaks much too fast", Subcategory.VOICE_SYNTHESIS),
        ("My payment failed again", Subcategory.PAYMENT_FAILURE),
        ("I can’t log in any more", Subcategory.LOGIN),
        ("He olvidé mi contraseña", Subcategory.PASSWORD_RESET),
        ("ICH BITTE UM RÜCKERSTATTUNG", Subcategory.REFUND_REQUEST),
        ("Où puis-je télécharger la facture du mois dernier ?", Subcategory.INVOICE_QUESTION),
        ("The story was too scary for her, she had nightmares", Subcategory.AGE_APPROPRIATENESS),
        ("You flagged my own character as somebody else's", Subcategory.FALSE_POSITIVE),
        ("Under the GDPR, delete my data", Subcategory.PRIVACY_CONCERN),
        ("Darf ich die Geschichte meiner Tochter veröffentlichen, wem gehören die Rechte?", Subcategory.USER_QUESTION),
    ],
    ids=lambda value: str(value)[:20],
)
def test_without_an_upstream_category_the_words_decide(classify, text: str, subcategory: Subcategory) -> None:
    """C2; whatever case, accents and apostrophes, in every language that is covered."""
    decided = classify(text)
    assert (decided.category, decided.subcategory) == (CATEGORY_OF[subcategory], subcategory)


@pytest.mark.parametrize("text", ["", "Hello!", "Where can I buy the plush dragon?", "你好，我有一个问题", "🙂"])
def test_what_the_words_do_not_tell_goes_to_triage(classify, text: str) -> None:
    """Category and subcategory null, never a guess; the candidates are kept (C3)."""
    unsure = classify(text)
    assert (unsure.category, unsure.subcategory, unsure.clauses) == (None, None, ("C3",))
    assert unsure.secondary == unsure.alternatives
    assert unsure.confidence < 0.5


def test_the_band_of_a_category_decides_what_is_sure_enough(classifier: Classifier) -> None:
    """A text just above the threshold is decided, with the threshold above it the same text goes to triage (C3)."""
    text = "I was charged more than last month"
    decided = classifier.classify((text,), classifier.read(text), None, Tier.FREE)
    assert decided.category is Category.BILLING
    numbers = classifier.policy.classification
    stricter = classifier.policy.model_copy(
        update={"classification": numbers.model_copy(update={"triage_below": dict.fromkeys(Category, 1.0)})}
    )
    strict = Classifier(stricter, classifier._model)
    assert strict.classify((text,), strict.read(text), None, Tier.FREE).category is None


def test_both_things_a_ticket_is_about_are_kept(classify) -> None:
    """Each in a sentence of its own; which leads says C5."""
    decided = classify(
        "The story was far too scary, my son had nightmares for a week. Also my credit card was declined."
    )
    assert decided.subcategory is Subcategory.AGE_APPROPRIATENESS
    assert Category.BILLING in [topic.category for topic in decided.secondary]
    assert decided.clauses == ("C2", "C5")


@pytest.mark.parametrize(
    ("text", "first", "second"),
    [
        (
            "You sell our data to advertisers, delete it. The story is full of swear words and shows naked people.",
            "safety",
            "content",
        ),
        (
            "I want a refund of my last payment, please. May I publish the story, who owns the copyright?",
            "ip",
            "billing",
        ),
    ],
    ids=["safety first", "then the earlier due time: 24 h of L5 before 48 h of L1"],
)
def test_of_several_topics_one_leads(classify, text: str, first: str, second: str) -> None:
    """C5's order."""
    decided = classify(text)
    assert decided.category.value.startswith(first)
    assert any(topic.category.value.startswith(second) for topic in decided.secondary)


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


def test_evidence_names_rules_and_features_and_never_words(classify) -> None:
    """C3; a customer's words stay with the customer."""
    assert classify("I want to die. I will sue you!").evidence[:2] == (
        "crisis_detection.en.5",
        "legal_action_threatened.en.3",
    )
    by_model = classify("My payment failed").evidence
    assert by_model
    assert all(one.startswith("feature.") and one.removeprefix("feature.").isdigit() for one in by_model)


def test_the_words_behind_a_decision_can_be_asked_for(classify, classifier: Classifier) -> None:
    """Each rule with what it matched, and the words that the model went by, each with its weight (C3)."""
    text = "My payment failed, I will sue you"
    explanation = classifier.explain((text,), classify(text))
    assert ("legal_action_threatened.en.3", "sue you") in explanation.rules
    assert "payment" in [one.word for one in explanation.words]


def test_what_else_was_considered_is_said_with_its_score(classify) -> None:
    """Likeliest first, none of them a topic of the ticket already."""
    decided = classify("Hello, I have a problem with my subscription")
    scores = [topic.confidence for topic in decided.alternatives]
    assert scores == sorted(scores, reverse=True)
    assert decided.category not in [topic.category for topic in decided.alternatives]


def test_the_version_names_the_model(classifier: Classifier) -> None:
    """C3: a hash of the examples, the words and the recipe."""
    assert classifier.version.startswith("linear-2@")


@pytest.mark.parametrize("size", [1, 1000, 100_000])
def test_a_crisis_is_found_in_the_longest_text(classify, size: int) -> None:
    """However much stands around it (S6, C4)."""
    filler = "We like the stories about the lake. " * size
    assert classify(f"{filler} I want to kill myself. {filler}").subcategory is Subcategory.CRISIS_DETECTION


BY_THE_MODEL_ALONE = (
    "When the lights go out he lies down next to me and I hold my breath",
    "mama sleeps for two days now and i cook for my brother",
    "every night i think about the bridge by the river",
    "dad locks the fridge and we get nothing when he is angry",
)
AROUND = ("Hello, we love your stories.", "Also the invoice of Tuesday is wrong and the narrator was too fast.")


@pytest.mark.parametrize("cry", BY_THE_MODEL_ALONE)
def test_one_sentence_is_enough(classifier: Classifier, cry: str) -> None:
    """C4, S6: no pattern has it, and whatever stands around it, or upstream says, it leads; the category given is kept."""
    framed = f"{AROUND[0]} {cry}. {AROUND[1]}"
    reading = classifier.read(framed)
    assert reading.crisis == ()
    assert classifier.classify((framed,), reading, None, Tier.FREE).category is Category.SAFETY
    given = classifier.classify((framed,), reading, UpstreamWords("billing", "invoice_question"), Tier.FREE)
    assert (given.category, given.secondary[0].subcategory) == (Category.SAFETY, Subcategory.INVOICE_QUESTION)
    assert any(one.startswith("feature.") for one in given.evidence)


@pytest.mark.parametrize(
    "cry", ["Since the dog died dad wants to die", "The prince in my story is me and he wants to die"]
)
def test_an_exception_leaves_it_to_the_model(classify, cry: str) -> None:
    """C4: what a story, an idiom or a denial takes back is looked at once more, by less than it takes otherwise."""
    assert classify(cry).category is Category.SAFETY


@pytest.mark.parametrize(
    "text", ["The dragon wants to die in chapter two", "The knight wants to kill the dragon", *AROUND]
)
def test_a_story_stays_a_story(classify, text: str) -> None:
    """And what stands around a cry is none by itself."""
    assert classify(text).category is not Category.SAFETY
