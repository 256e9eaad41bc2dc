"""E7, R9, S1, L12: what may change a ticket, and what is refused."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.classification import Classifier, UpstreamWords
from router.domain.escalation import Met
from router.domain.ticket import (
    ClaimStands,
    CriterionOfAnotherCategory,
    IsRestricted,
    LegalStands,
    NoReason,
    NotAPerson,
    NotLower,
    ReopenedTooLate,
    SafetyStands,
    Ticket,
    UnknownCriterion,
)
from shared.errors import Refusal
from shared.policy.model import Policy
from shared.testing.builders import AT
from shared.vocabulary import CATEGORY_OF, Category, Criterion, Level, Origin, Subcategory, Team, TicketId, Tier

WEEK = timedelta(days=7)


def a_ticket(
    classifier: Classifier,
    subcategory: Subcategory | None = None,
    *criteria: Criterion,
    category: Category | None = None,
) -> Ticket:
    if subcategory is not None:
        category = CATEGORY_OF[subcategory]
    upstream = UpstreamWords(category, subcategory) if category else None
    ticket = Ticket(
        ticket_id=TicketId("T-1"),
        created_by="e-1",
        created_at=AT,
        tier=Tier.FREE,
        requester_id="u-1",
        ip_id=None,
        upstream=upstream,
        classification=classifier.classify(("",), classifier.read(""), upstream, Tier.FREE),
    )
    return ticket.meeting([Met(criterion, Origin.EVENT) for criterion in criteria], classifier.policy)


@pytest.fixture
def ticket(classifier: Classifier) -> Callable[..., Ticket]:
    return lambda *args, **options: a_ticket(classifier, *args, **options)


def lower(ticket: Ticket, to: Level, policy: Policy, *, reason: str = "solved below", by_person: bool = True) -> Ticket:
    return ticket.lowered(to, reason=reason, by_person=by_person, policy=policy)


class TestClaims:
    @pytest.mark.parametrize("criterion", ["rights_holder_claim", "dmca_takedown", "cease_and_desist"])
    @pytest.mark.parametrize("category", [*(c for c in Category if c is not Category.SAFETY), None], ids=str)
    def test_make_a_rights_holder_claim_of_any_ticket(self, ticket, criterion, category, policy: Policy) -> None:
        """Category, subcategory, legal at Level 3 (E5)."""
        placed = ticket(None, Criterion(criterion), category=category).placed(policy)
        assert placed.subcategory is Subcategory.RIGHTS_HOLDER_CLAIM
        assert (placed.level, placed.team, placed.owning_team) == (Level.THREE, Team.LEGAL, Team.LEGAL)
        assert "E5" in placed.clauses or category is Category.IP_ATTRIBUTION

    def test_never_take_a_ticket_out_of_safety(self, ticket, policy: Policy) -> None:
        """Safety leads, legal is told (C4, C5, S1)."""
        placed = ticket(Subcategory.PRIVACY_CONCERN, Criterion.DMCA_TAKEDOWN).placed(policy)
        assert (placed.category, placed.team, placed.also_notified) == (Category.SAFETY, Team.SAFETY, (Team.LEGAL,))

    def test_stand_when_a_person_reclassifies(self, ticket, policy: Policy) -> None:
        """Words or signals of a claim are not overruled (C4)."""
        claimed = ticket(Subcategory.LOGIN, Criterion.CEASE_AND_DESIST)
        with pytest.raises(ClaimStands):
            claimed.reclassified(UpstreamWords("billing", None), policy)

    def test_from_upstreams_category_alone_may_be_corrected(self, ticket, policy: Policy) -> None:
        """No criterion was met: the category enters anew, which is no fall (R9)."""
        claim = ticket(Subcategory.RIGHTS_HOLDER_CLAIM)
        placed = claim.reclassified(UpstreamWords("ip_attribution", "user_question"), policy).placed(policy)
        assert (placed.level, placed.team) == (Level.ONE, Team.CUSTOMER_SERVICE)


class TestAskingToRise:
    def test_with_a_criterion_of_the_row_raises(self, ticket, policy: Policy) -> None:
        """E7: the person's word is a criterion of E0."""
        placed = ticket(Subcategory.REFUND_REQUEST).asked_to_rise("refund_policy_exception", policy).placed(policy)
        assert (placed.level, placed.team) == (Level.TWO, Team.FINANCE)
        assert placed.raised_by == Met(Criterion.REFUND_POLICY_EXCEPTION, Origin.PERSON)

    def test_with_a_word_that_is_no_criterion_is_refused(self, ticket, policy: Policy) -> None:
        """Not in E0."""
        with pytest.raises(UnknownCriterion):
            ticket(Subcategory.LOGIN).asked_to_rise("please", policy)

    @pytest.mark.parametrize("category", [*Category, None], ids=str)
    def test_with_a_criterion_of_another_row_is_refused(self, ticket, category, policy: Policy) -> None:
        """E7, for every criterion that is neither in the row nor in E5; the clock's own word is nobody's to ask with."""
        row = policy.escalation.rows[category].level_of if category else {}
        asked = ticket(category=category)
        for criterion in Criterion:
            if criterion not in row and criterion not in policy.escalation.everywhere:
                with pytest.raises(CriterionOfAnotherCategory):
                    asked.asked_to_rise(criterion.value, policy)

    @pytest.mark.parametrize("category", [*Category, None], ids=str)
    def test_with_a_criterion_of_e5_is_never_refused(self, ticket, category, policy: Policy) -> None:
        """E5 holds in every category."""
        for criterion in policy.escalation.everywhere:
            ticket(category=category).asked_to_rise(criterion.value, policy)

    def test_with_what_is_satisfied_changes_nothing(self, ticket, policy: Policy) -> None:
        """E7."""
        raised = ticket(Subcategory.LOGIN, Criterion.NEEDS_CODE_FIX)
        for word in ("needs_code_fix", "data_integrity", "needs_advanced_knowledge"):
            assert raised.asked_to_rise(word, policy).placed(policy).equals(raised.placed(policy))

    def test_of_a_restricted_ticket_is_refused(self, ticket, policy: Policy) -> None:
        """It would tell what may not be told (S9)."""
        with pytest.raises(IsRestricted):
            ticket(Subcategory.PRIVACY_CONCERN).marked_restricted().asked_to_rise("report_submission", policy)


class TestLowering:
    def test_by_a_person_with_a_reason_is_done(self, ticket, policy: Policy) -> None:
        """R9: to the ladder's team of that level."""
        placed = lower(ticket(Subcategory.LOGIN, Criterion.NEEDS_CODE_FIX), Level.TWO, policy).placed(policy)
        assert (placed.level, placed.team, placed.clauses) == (Level.TWO, Team.TECHNICAL_SUPPORT, ("C2", "R9"))

    def test_may_go_below_the_entry_level(self, ticket, policy: Policy) -> None:
        """A person's reason outweighs the entry (R9)."""
        assert lower(ticket(Subcategory.FALSE_POSITIVE), Level.ONE, policy).placed(policy).level is Level.ONE

    def test_spends_the_criteria_above_and_keeps_those_below(self, ticket, policy: Policy) -> None:
        """The same criterion raises again only when somebody says it again."""
        raised = ticket(Subcategory.LOGIN, Criterion.NEEDS_CODE_FIX, Criterion.NEEDS_ADVANCED_KNOWLEDGE)
        lowered = lower(raised, Level.TWO, policy)
        assert [met.criterion for met in lowered.criteria] == [Criterion.NEEDS_ADVANCED_KNOWLEDGE]
        assert lowered.asked_to_rise("needs_code_fix", policy).placed(policy).level is Level.THREE

    def test_does_not_outlive_a_change_of_category(self, ticket, policy: Policy) -> None:
        """A ticket re-enters by R2-R7 (R9)."""
        lowered = lower(ticket(Subcategory.FALSE_POSITIVE), Level.ONE, policy)
        moved = lowered.reclassified(UpstreamWords("ip_attribution", "missing_attribution"), policy)
        assert moved.placed(policy).level is Level.TWO

    @pytest.mark.parametrize("subcategory", [sub for sub in Subcategory if CATEGORY_OF[sub] is Category.SAFETY])
    def test_of_a_safety_ticket_is_refused(self, ticket, subcategory, policy: Policy) -> None:
        """S1, for each of them and for restricted ones."""
        for safety in (ticket(subcategory), ticket(subcategory).marked_restricted()):
            with pytest.raises(SafetyStands):
                lower(safety, Level.ONE, policy)

    @pytest.mark.parametrize(
        ("subcategory", "criteria"),
        [
            (Subcategory.RIGHTS_HOLDER_CLAIM, ()),
            (Subcategory.LOGIN, (Criterion.LEGAL_ACTION_THREATENED,)),
            (Subcategory.REFUND_REQUEST, (Criterion.REGULATORY_INQUIRY,)),
        ],
        ids=["claim", "with legal", "with legal compliance"],
    )
    def test_of_a_ticket_with_legal_is_refused(self, ticket, subcategory, criteria, policy: Policy) -> None:
        """S1, R9."""
        with pytest.raises(LegalStands):
            lower(ticket(subcategory, *criteria), Level.ONE, policy)

    @pytest.mark.parametrize(
        ("options", "refusal"),
        [({"by_person": False}, NotAPerson), ({"reason": "  "}, NoReason)],
        ids=["by a system", "without a reason"],
    )
    def test_needs_a_person_and_a_reason(self, ticket, options, refusal, policy: Policy) -> None:
        """A rule only raises (R9)."""
        with pytest.raises(refusal):
            lower(ticket(Subcategory.LOGIN, Criterion.NEEDS_CODE_FIX), Level.ONE, policy, **options)

    @pytest.mark.parametrize("to", [Level.TWO, Level.THREE, Level.IMMEDIATE], ids=str)
    def test_to_a_higher_level_is_refused(self, ticket, to, policy: Policy) -> None:
        """Level 0 ranks above 3 (R9)."""
        with pytest.raises(NotLower):
            lower(ticket(Subcategory.LOGIN), to, policy)

    def test_to_the_same_level_changes_nothing(self, ticket, policy: Policy) -> None:
        """Two people lowering at once lower once."""
        assert lower(ticket(Subcategory.LOGIN), Level.ONE, policy) == ticket(Subcategory.LOGIN)


class TestReclassifying:
    def test_enters_the_new_category_with_what_is_known(self, ticket, policy: Policy) -> None:
        """Criteria are facts about the ticket: those of the new row count there (R9, R2)."""
        moved = ticket(Subcategory.LOGIN, Criterion.EXECUTIVE_DISPUTE).reclassified(
            UpstreamWords("billing", None), policy
        )
        assert (moved.placed(policy).level, moved.placed(policy).team) == (Level.THREE, Team.EXECUTIVE)

    def test_may_fall_since_it_is_no_fall(self, ticket, policy: Policy) -> None:
        """R9."""
        moved = ticket(Subcategory.LOGIN, Criterion.NEEDS_CODE_FIX).reclassified(UpstreamWords("billing", None), policy)
        assert moved.placed(policy).level is Level.ONE

    @pytest.mark.parametrize("words", [("hardware", None), ("billing", "login")], ids=["unknown", "mismatched"])
    def test_by_unknown_words_only_keeps_them(self, ticket, words, policy: Policy) -> None:
        """C2."""
        asked = ticket(Subcategory.LOGIN)
        moved = asked.reclassified(UpstreamWords(*words), policy)
        assert moved.upstream == UpstreamWords(*words)
        assert moved.placed(policy).equals(asked.placed(policy))

    @pytest.mark.parametrize("category", [c for c in Category if c is not Category.SAFETY])
    @pytest.mark.parametrize("subcategory", [sub for sub in Subcategory if CATEGORY_OF[sub] is Category.SAFETY])
    def test_out_of_safety_is_refused(self, ticket, subcategory, category, policy: Policy) -> None:
        """S1, C4."""
        with pytest.raises(SafetyStands):
            ticket(subcategory).reclassified(UpstreamWords(category, None), policy)

    @pytest.mark.parametrize(
        ("subcategory", "to"),
        [
            ("crisis_detection", "content_moderation"),
            ("mandatory_reporting", "crisis_detection"),
            ("content_moderation", "privacy_concern"),
            ("privacy_concern", None),
        ],
        ids=["a lower level", "legal compliance no longer told", "a lesser incident", "no class at all"],
    )
    def test_to_less_inside_safety_is_refused(self, ticket, subcategory, to, policy: Policy) -> None:
        """Nothing lowers severity or removes a response alone (S1)."""
        with pytest.raises(SafetyStands):
            ticket(Subcategory(subcategory)).reclassified(UpstreamWords("safety", to), policy)

    @pytest.mark.parametrize(
        ("subcategory", "to"),
        [("privacy_concern", "content_moderation"), ("content_moderation", "crisis_detection")],
    )
    def test_to_more_inside_safety_is_done(self, ticket, subcategory, to, policy: Policy) -> None:
        """Severity only rises (S1)."""
        moved = ticket(Subcategory(subcategory)).reclassified(UpstreamWords("safety", to), policy)
        assert moved.placed(policy).subcategory == to


class TestReopening:
    @pytest.mark.parametrize("later", [timedelta(minutes=1), WEEK])
    def test_within_seven_days_is_done(self, ticket, later, policy: Policy) -> None:
        """7 d 0 s included (L12)."""
        assert ticket(Subcategory.LOGIN).resolved(AT).reopened(AT + later, policy).resolved_at is None

    def test_later_is_refused(self, ticket, policy: Policy) -> None:
        """L12."""
        with pytest.raises(ReopenedTooLate):
            ticket(Subcategory.LOGIN).resolved(AT).reopened(AT + WEEK + timedelta(microseconds=1), policy)

    def test_by_what_happened_before_resolving_changes_nothing(self, ticket, policy: Policy) -> None:
        """Judged by the time it happened, not by arrival (L13)."""
        resolved = ticket(Subcategory.LOGIN).resolved(AT)
        assert resolved.reopened(AT - timedelta(minutes=1), policy) == resolved


def test_a_safety_ticket_is_not_closed(ticket) -> None:
    """S1."""
    with pytest.raises(SafetyStands):
        ticket(Subcategory.COPPA_COMPLIANCE).closed(AT)


FACTS = st.one_of(
    st.tuples(st.just("signal"), st.sampled_from(Criterion)),
    st.tuples(st.just("request"), st.sampled_from(Criterion)),
    st.tuples(
        st.just("words"), st.sampled_from(["I want to die", "being abused", "dmca", "my lawyer", "hello", "refund"])
    ),
)
START = st.one_of(st.none(), st.sampled_from(Subcategory))


def after(ticket: Ticket, fact: tuple[str, object], classifier: Classifier) -> Ticket:
    kind, said = fact
    policy = classifier.policy
    if kind == "words":
        reading = classifier.read(str(said))
        return ticket.told(reading, classifier.danger((str(said),), reading), policy)
    if kind == "signal":
        return ticket.meeting([Met(Criterion(said), Origin.EVENT)], policy)
    try:
        return ticket.asked_to_rise(str(said), policy)
    except Refusal:
        return ticket


@given(start=START, facts=st.lists(FACTS, max_size=8))
def test_no_rule_ever_lowers_a_level(classifier: Classifier, start, facts) -> None:
    """Only a person lowers, and a person's correction enters anew (R9); whatever is signalled, asked or written."""
    ticket = a_ticket(classifier, start)
    for fact in facts:
        before = ticket.placed(classifier.policy)
        ticket = after(ticket, fact, classifier)
        now = ticket.placed(classifier.policy)
        assert now.level.rank >= before.level.rank
        assert before.category is not Category.SAFETY or now.category is Category.SAFETY


@given(start=START, facts=st.lists(FACTS, max_size=6, unique=True), data=st.data())
def test_the_order_of_facts_does_not_matter(classifier: Classifier, start, facts, data) -> None:
    """The same facts lead to the same place, however they are delivered; requests apart, which the state may refuse."""
    facts = [fact for fact in facts if fact[0] != "request"]
    placements = []
    for order in (facts, data.draw(st.permutations(facts))):
        ticket = a_ticket(classifier, start)
        for fact in order:
            ticket = after(ticket, fact, classifier)
        placed = ticket.placed(classifier.policy)
        placements.append((placed.category, placed.subcategory, placed.level, placed.team, set(placed.also_notified)))
    assert placements[0] == placements[1]
