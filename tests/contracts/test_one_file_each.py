"""Where a new criterion, team or language is added: one file each. These tests add one."""

from collections.abc import Callable
from importlib.resources import files

import yaml
from pydantic import TypeAdapter

from intake.domain.acceptance import SafetyWatch, Said, unknown_words
from router.app import shipped_parameters
from router.domain.classification import Classifier
from router.domain.escalation import Met, criterion_of
from router.domain.model import Model
from router.training.judge import Judgement, judge
from shared.events.routing import RoutingEscalated
from shared.policy.load import load_policy, shipped_words
from shared.policy.model import Policy
from shared.vocabulary import Criterion, Level, Origin, Subcategory, Team

POLICY_FILE = (files("shared.policy") / "policy.yaml").read_text()

ITALIAN = """
sets:
  figura: [drago, principessa, re, mostro]
safety:
  crisis_detection:
    says: [voglio|vorrei ~2 morire|uccidermi]
    unless: [$figura ~4 morire]
  mandatory_reporting:
    says: [papa|patrigno ~2 mi picchia]
criteria:
  legal_action_threatened:
    says: [mio|nostro avvocato]
topics:
  privacy_concern:
    says: [dati personali]
"""


def edited(change: Callable[[str], str]) -> Policy:
    """The policy after an edit of policy.yaml alone."""
    text = change(POLICY_FILE)
    assert text != POLICY_FILE
    return load_policy(text)


def judged(policy: Policy, text: str) -> Judgement:
    return judge(Classifier(policy, Model(shipped_parameters())), "", text)


def test_a_criterion_is_a_word_in_a_row_of_the_policy_and_its_text() -> None:
    """E0: intake knows it, the router raises by it, and it can be said on the topic; elsewhere nothing changes."""
    policy = edited(
        lambda text: text.replace(
            "2: [unresolved_by_standard_steps, needs_advanced_knowledge",
            "2: [needs_translation, unresolved_by_standard_steps, needs_advanced_knowledge",
            1,
        ).replace(
            "  escalation_details:", "  escalation_details:\n    needs_translation: Somebody who speaks your language."
        )
    )
    assert unknown_words(Said(signals=("needs_translation",), criterion="needs_translation"), policy) == ()
    assert unknown_words(Said(signals=("needs_translation",)), load_policy()) != ()
    criterion = criterion_of("needs_translation", policy)
    assert criterion is not None
    ticket = judged(policy, "The story does not generate, it is stuck").ticket
    raised = ticket.meeting([Met(criterion, Origin.EVENT)], policy).placed(policy)
    assert (raised.level, raised.team) == (Level.TWO, Team.TECHNICAL_SUPPORT)
    assert criterion_of("needs_translation", load_policy()) is None
    field = RoutingEscalated.model_fields["criterion"]
    assert TypeAdapter(field.annotation).validate_json('"needs_translation"') == criterion


def test_a_team_is_a_word_in_a_ladder_of_the_policy_and_its_name() -> None:
    """R1: tickets are routed to it."""
    policy = edited(
        lambda text: text.replace(
            "technical: {owner: technical_support, levels: {1: customer_service,",
            "technical: {owner: technical_support, levels: {1: night_watch,",
        ).replace("    customer_service: Customer", "    night_watch: Night Watch\n    customer_service: Customer")
    )
    placed = judged(policy, "The app is terribly slow and crashes all the time").placement
    assert placed.team == "night_watch"
    assert Team("night_watch") is placed.team
    assert Team("night_watch") not in load_policy().teams


def test_a_language_is_a_file_of_words() -> None:
    """E5, S6: intake flags by it and the router decides by it; what the file takes back is no crisis."""
    document = yaml.safe_load(POLICY_FILE)
    document["words"] = shipped_words() | {"it": yaml.safe_load(ITALIAN)}
    policy = load_policy(yaml.safe_dump(document))
    watch = SafetyWatch(policy)
    assert watch.flag(Said(texts=("Voglio morire",))).evidence == ("words.crisis_detection.it.1",)
    assert watch.flag(Said(texts=("Il drago dice voglio morire",))) is None
    assert SafetyWatch(load_policy()).flag(Said(texts=("vorrei uccidermi",))) is None
    assert judged(policy, "Il patrigno mi picchia").subcategory is Subcategory.MANDATORY_REPORTING
    assert judged(policy, "Cancellate i miei dati personali").subcategory is Subcategory.PRIVACY_CONCERN
    assert Criterion.LEGAL_ACTION_THREATENED in [
        met.criterion for met in judged(policy, "Il mio avvocato vi scrive").ticket.criteria
    ]
