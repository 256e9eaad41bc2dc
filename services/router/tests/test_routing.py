"""R1-R9: which team and level, expected by hand from the tables of the policy."""

import pytest

from router.domain.classification import Classification, Topic
from router.domain.escalation import Met
from router.domain.routing import Change, Placement, change, place
from shared.policy.model import Policy
from shared.vocabulary import CATEGORY_OF, Category, Criterion, Level, Origin, Subcategory, Team

SERVICE, TECH, ENGINEERING = Team.CUSTOMER_SERVICE, Team.TECHNICAL_SUPPORT, Team.ENGINEERING
FINANCE, EXECUTIVE, CONTENT, LEGAL = Team.FINANCE, Team.EXECUTIVE, Team.CONTENT, Team.LEGAL
SAFETY, COMPLIANCE, AGENT = Team.SAFETY, Team.LEGAL_COMPLIANCE, Team.CHILD_SAFETY_AGENT


def about(category: Category | None, subcategory: Subcategory | None = None, *beside: Subcategory) -> Classification:
    primary = Topic(category, subcategory, 1.0) if category else None
    secondary = tuple(Topic(CATEGORY_OF[other], other, 0.9) for other in beside)
    return Classification(primary, secondary, (), "test", ("C2",) if category else ("C3",))


def met(*criteria: Criterion) -> tuple[Met, ...]:
    return tuple(Met(criterion, Origin.EVENT) for criterion in criteria)


def entry(subcategory: Subcategory, policy: Policy, *criteria: Criterion) -> Placement:
    return place(about(CATEGORY_OF[subcategory], subcategory), met(*criteria), None, policy)


PLAIN = {Category.TECHNICAL: TECH, Category.ACCOUNT: SERVICE, Category.BILLING: FINANCE, Category.CONTENT: CONTENT}
PLAIN_ENTRIES = [sub for sub in Subcategory if CATEGORY_OF[sub] in PLAIN]
OTHER_ENTRIES = {
    Subcategory.MISSING_ATTRIBUTION: (2, CONTENT, CONTENT, (), "R4"),
    Subcategory.FALSE_POSITIVE: (2, CONTENT, CONTENT, (), "R4"),
    Subcategory.USER_QUESTION: (1, SERVICE, CONTENT, (), "R4"),
    Subcategory.RIGHTS_HOLDER_CLAIM: (3, LEGAL, LEGAL, (), "R3"),
    Subcategory.CRISIS_DETECTION: (0, AGENT, SAFETY, (SAFETY,), "R5"),
    Subcategory.MANDATORY_REPORTING: (0, AGENT, SAFETY, (SAFETY, COMPLIANCE), "R5"),
    Subcategory.CONTENT_MODERATION: (1, SAFETY, SAFETY, (), "R6"),
    Subcategory.PRIVACY_CONCERN: (1, SAFETY, SAFETY, (), "R6"),
    Subcategory.COPPA_COMPLIANCE: (1, SAFETY, SAFETY, (), "R6"),
}


@pytest.mark.parametrize("subcategory", PLAIN_ENTRIES)
def test_a_plain_subcategory_enters_at_level_1(subcategory: Subcategory, policy: Policy) -> None:
    """Customer service handles it, the category's team owns it (R1, R2)."""
    placed = entry(subcategory, policy)
    assert (placed.level, placed.team, placed.also_notified) == (Level.ONE, SERVICE, ())
    assert placed.owning_team is PLAIN[CATEGORY_OF[subcategory]]
    assert placed.clauses == ("C2", "R2")


@pytest.mark.parametrize(("subcategory", "expected"), OTHER_ENTRIES.items(), ids=list(OTHER_ENTRIES))
def test_the_other_subcategories_enter_where_their_clause_says(subcategory, expected, policy: Policy) -> None:
    """R3-R6."""
    level, team, owner, told, clause = expected
    placed = entry(subcategory, policy)
    assert (placed.level, placed.team, placed.owning_team, placed.also_notified) == (level, team, owner, told)
    assert placed.clauses == ("C2", clause)


def test_all_28_subcategories_are_covered() -> None:
    """C1."""
    assert {*PLAIN_ENTRIES, *OTHER_ENTRIES} == set(Subcategory)
    assert len(Subcategory) == 28


def test_safety_without_a_subcategory_enters_at_level_1_safety(policy: Policy) -> None:
    """R6."""
    placed = place(about(Category.SAFETY), (), None, policy)
    assert (placed.level, placed.team, placed.clauses) == (Level.ONE, SAFETY, ("C2", "R6"))


def test_triage_stands_at_level_1_with_customer_service(policy: Policy) -> None:
    """Team and owning team; criteria of a category's row count nowhere yet (C3)."""
    placed = place(about(None), met(Criterion.NEEDS_CODE_FIX), None, policy)
    assert (placed.level, placed.team, placed.owning_team, placed.clauses) == (Level.ONE, SERVICE, SERVICE, ("C3",))


LADDER = {
    (Category.TECHNICAL, 2): TECH,
    (Category.TECHNICAL, 3): ENGINEERING,
    (Category.ACCOUNT, 2): TECH,
    (Category.ACCOUNT, 3): ENGINEERING,
    (Category.BILLING, 2): FINANCE,
    (Category.BILLING, 3): EXECUTIVE,
    (Category.CONTENT, 2): CONTENT,
    (Category.CONTENT, 3): SAFETY,
    (Category.IP_ATTRIBUTION, 2): CONTENT,
    (Category.IP_ATTRIBUTION, 3): LEGAL,
    (Category.SAFETY, 2): COMPLIANCE,
}
TECHNICAL_ROW = """
    2 unresolved_by_standard_steps needs_advanced_knowledge needs_configuration_change persists_after_level_1
    3 needs_code_fix architecture_issue security_vulnerability data_integrity needs_system_modification
    3 affects_many_or_stability
"""
E0 = {
    ("E1", Category.TECHNICAL): TECHNICAL_ROW,
    ("E8", Category.ACCOUNT): TECHNICAL_ROW,
    ("E2", Category.IP_ATTRIBUTION): """
        2 missing_attribution false_positive needs_content_review
        3 legal_dispute legal_action_threatened multiple_disputes high_profile_ip
    """,
    ("E3", Category.BILLING): """
        2 complex_billing enterprise_contract_question refund_policy_exception payment_method_issue
        3 executive_dispute special_pricing contract_modification legal_or_compliance
    """,
    ("E8", Category.CONTENT): "2 needs_content_review",
    ("R7", Category.CONTENT): "3 moderation compliance",
    ("E4", Category.SAFETY): """
        2 report_submission legal_compliance_question regulatory_inquiry law_enforcement_request
    """,
}
CASES = [
    pytest.param(category, Criterion(word), Level(int(line.split()[0])), clause, id=f"{clause} {category} {word}")
    for (clause, category), rows in E0.items()
    for line in rows.strip().splitlines()
    for word in line.split()[1:]
]


@pytest.mark.parametrize(("category", "criterion", "level", "clause"), CASES)
def test_a_criterion_of_its_row_raises_a_ticket_of_the_category(
    category: Category, criterion: Criterion, level: Level, clause: str, policy: Policy
) -> None:
    """The table of E0, cell by cell."""
    placed = place(about(category), met(criterion), None, policy)
    assert (placed.category, placed.level, placed.team) == (category, level, LADDER[category, level])
    assert placed.raised_by == Met(criterion, Origin.EVENT)
    assert placed.clauses[-1] == clause
    assert "R2" not in placed.clauses


@pytest.mark.parametrize("category", Category)
def test_criteria_of_other_rows_count_nowhere(category: Category, policy: Policy) -> None:
    """E0 has a row for each category; only those of E5 reach beyond it."""
    row = policy.escalation.rows[category].level_of
    others = [word for word in Criterion if word not in row and word not in policy.escalation.everywhere]
    assert place(about(category), met(*others), None, policy).equals(place(about(category), (), None, policy))


def test_the_highest_of_several_criteria_decides(policy: Policy) -> None:
    """A ticket rises once, to the highest level that is met (R2, E0)."""
    words = [Criterion.NEEDS_CODE_FIX, Criterion.NEEDS_CONFIGURATION_CHANGE]
    placed = [entry(Subcategory.LOGIN, policy, *order) for order in (words, reversed(words))]
    assert placed[0].equals(placed[1])
    assert placed[0].raised_by == Met(Criterion.NEEDS_CODE_FIX, Origin.EVENT)


EVERYWHERE = {
    Criterion.LEGAL_ACTION_THREATENED: LEGAL,
    Criterion.REGULATORY_INQUIRY: COMPLIANCE,
    Criterion.LAW_ENFORCEMENT_REQUEST: COMPLIANCE,
    Criterion.SECURITY_VULNERABILITY: ENGINEERING,
}


@pytest.mark.parametrize("category", [*Category, None], ids=str)
@pytest.mark.parametrize(("criterion", "team"), EVERYWHERE.items(), ids=list(EVERYWHERE))
def test_criteria_of_e5_hold_in_every_category_and_keep_it(category, criterion, team, policy: Policy) -> None:
    """E5: Level 3 of that team; in safety the two of its own row stay at Level 2; triage stays triage."""
    level = Level.TWO if category is Category.SAFETY and team is COMPLIANCE else Level.THREE
    placed = place(about(category), met(criterion), None, policy)
    assert (placed.category, placed.level, placed.team) == (category, level, team)


def test_safety_is_told_of_a_ticket_that_legal_takes_over(policy: Policy) -> None:
    """E5 raises a safety ticket to legal; the safety team keeps owning it and is told."""
    placed = entry(Subcategory.CONTENT_MODERATION, policy, Criterion.LEGAL_ACTION_THREATENED)
    assert (placed.team, placed.owning_team, placed.also_notified) == (LEGAL, SAFETY, (SAFETY,))


def test_of_two_teams_at_the_same_level_legal_handles_and_the_other_is_told(policy: Policy) -> None:
    """E5 in the policy's order, whichever came first."""
    words = [Criterion.SECURITY_VULNERABILITY, Criterion.LEGAL_ACTION_THREATENED]
    for order in (words, reversed(words)):
        placed = entry(Subcategory.API_ERRORS, policy, *order)
        assert (placed.team, placed.also_notified) == (LEGAL, (ENGINEERING,))


def test_e5_goes_before_the_categorys_own_team(policy: Policy) -> None:
    """A threatened lawsuit about billing is with legal, not with the executives (E5)."""
    placed = entry(Subcategory.REFUND_REQUEST, policy, Criterion.EXECUTIVE_DISPUTE, Criterion.LEGAL_ACTION_THREATENED)
    assert placed.team is LEGAL


@pytest.mark.parametrize("criterion", ["report_submission", "legal_compliance_question"])
def test_level_0_is_left_by_no_criterion(criterion: str, policy: Policy) -> None:
    """Legal compliance is told, the level stays (R9)."""
    placed = entry(Subcategory.CRISIS_DETECTION, policy, Criterion(criterion))
    assert (placed.level, placed.team, placed.also_notified) == (Level.IMMEDIATE, AGENT, (SAFETY, COMPLIANCE))
    assert placed.clauses[-1] == "R9"


def test_a_crisis_that_is_also_a_mandatory_report_tells_both(policy: Policy) -> None:
    """What R5 says of the secondary subcategory holds beside the primary (C5)."""
    both = about(Category.SAFETY, Subcategory.CRISIS_DETECTION, Subcategory.MANDATORY_REPORTING)
    assert place(both, (), None, policy).also_notified == (SAFETY, COMPLIANCE)


def test_legal_is_told_of_a_claim_inside_a_safety_ticket(policy: Policy) -> None:
    """Safety leads (C5), the claim is not lost."""
    both = about(Category.SAFETY, Subcategory.PRIVACY_CONCERN, Subcategory.RIGHTS_HOLDER_CLAIM)
    placed = place(both, (), None, policy)
    assert (placed.team, placed.also_notified) == (SAFETY, (LEGAL,))


def test_a_change_of_category_is_an_assignment_even_when_it_rises(policy: Policy) -> None:
    """`escalated` is a rise inside the category."""
    before, after = entry(Subcategory.LOGIN, policy), entry(Subcategory.RIGHTS_HOLDER_CLAIM, policy)
    assert change(before, after) is Change.ASSIGNED


def test_a_change_of_team_at_the_same_level_is_an_assignment(policy: Policy) -> None:
    """From the executives to legal, both at Level 3."""
    before = entry(Subcategory.REFUND_REQUEST, policy, Criterion.EXECUTIVE_DISPUTE)
    after = entry(Subcategory.REFUND_REQUEST, policy, Criterion.EXECUTIVE_DISPUTE, Criterion.LEGAL_ACTION_THREATENED)
    assert change(before, after) is Change.ASSIGNED


def test_the_same_place_for_other_reasons_is_no_change(policy: Policy) -> None:
    """A decision equal to the current one says nothing new (R8)."""
    before = entry(Subcategory.MISSING_ATTRIBUTION, policy)
    after = entry(Subcategory.MISSING_ATTRIBUTION, policy, Criterion.NEEDS_CONTENT_REVIEW)
    assert change(before, after) is Change.NONE
