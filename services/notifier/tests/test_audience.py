"""Which event leads to which message to whom (T1-T4, T6, R5, R8, S1, S4, S5, S9)."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import yaml

from notifier.domain.audience import TEXTS, is_address, is_machine
from notifier.domain.notification import State
from shared.directory import Directory
from shared.events.safety import SafetyFeedGap, SafetyFeedSilent, SafetyStepEmpty, SafetyStormStarted
from shared.vocabulary import SUBCATEGORIES, Category, Subcategory

FIRST_TEXTS = {
    Subcategory.USER_QUESTION: {"ip_question": "queued"},
    Subcategory.RIGHTS_HOLDER_CLAIM: {"receipt": "queued", "rights_holder_claim": "held"},
    **{safety: {"initial_response": "suppressed"} for safety in SUBCATEGORIES[Category.SAFETY]},
}


@pytest.mark.parametrize("subcategory", Subcategory)
def test_the_first_decision_lets_the_customer_be_written_to(office, say, subcategory) -> None:
    """Text 1, but questions about IP get their answer, claims the receipt, and safety tickets nothing (T1, T3, T4)."""
    office.hear(say.created(), say.assigned(subcategory))
    assert office.customer() == FIRST_TEXTS.get(subcategory, {"initial_response": "queued"})


def test_no_customer_text_before_the_first_decision_and_the_customer_are_known(office, say) -> None:
    """The two topics come in any order; what happened waits for both (T3)."""
    office.hear(say.created(), say.resolved())
    assert office.customer() == {}
    office.hear(say.assigned())
    assert office.customer() == {"initial_response": "queued", "resolution": "queued"}


def test_a_decision_that_comes_before_its_ticket_waits_for_it(office, say) -> None:
    office.hear(say.assigned())
    assert office.customer() == {}
    office.hear(say.created())
    assert office.customer() == {"initial_response": "queued"}


@pytest.mark.parametrize("hint", ["machine_mail", "loop"])
def test_a_machine_is_not_answered(office, say, hint: str) -> None:
    """HD-63: an answer would only be answered; the team is told all the same."""
    office.hear(say.created(), say.assigned(suggestions=[{"hint": hint}]))
    assert office.customer() == {"initial_response": "suppressed"}
    assert office.told_to("team")


@pytest.mark.parametrize("hint", ["duplicate", "spam", "flood"])
def test_what_may_be_spam_or_a_duplicate_is_answered_until_a_person_closes_it(office, say, hint: str) -> None:
    """HD-62, HD-64: a suggestion decides nothing."""
    office.hear(say.created(), say.assigned(suggestions=[{"hint": hint, "of": "T-0"}]))
    assert office.customer() == {"initial_response": "queued"}


def test_that_somebody_of_the_team_took_it_is_no_news_to_the_team(office, say) -> None:
    """Who else is told now is (R8)."""
    office.hear(say.created(), say.assigned())
    told = len(office.told_to("team"))
    office.hear(say.assigned(decision_id="d-2", replaces="d-1", assignee="ada"))
    assert len(office.told_to("team")) == told
    office.hear(say.assigned(decision_id="d-3", replaces="d-2", assignee="ada", also_notified=["legal"]))
    assert len(office.told_to("team")) > told


def test_two_decisions_before_the_ticket_itself_mean_one_answer(office, say) -> None:
    """The topics overtake each other; a claim has one receipt all the same, and one text that waits for its facts (T4)."""
    office.hear(say.assigned(), say.assigned("rights_holder_claim", decision_id="d-2", replaces="d-1", team="legal"))
    office.hear(say.created())
    assert [one.intent.template for one in office.told_to("customer")] == ["receipt", "rights_holder_claim"]


def test_a_later_decision_says_nothing_to_the_customer(office, say) -> None:
    """Only the first one does, and the one that finds a rights-holder claim, once (T4)."""
    office.hear(say.created(), say.assigned())
    office.hear(say.assigned("payment_failure", decision_id="d-2", replaces="d-1"))
    assert office.customer() == {"initial_response": "queued"}
    office.hear(say.assigned("rights_holder_claim", decision_id="d-3", replaces="d-2", team="legal"))
    office.hear(say.assigned("user_question", decision_id="d-4", replaces="d-3"))
    office.hear(say.assigned("rights_holder_claim", decision_id="d-5", replaces="d-4", team="legal"))
    assert [one.intent.template for one in office.told_to("customer")] == [
        "initial_response",
        "receipt",
        "rights_holder_claim",
    ]


def test_a_rise_that_finds_a_claim_has_its_receipt_too(office, say) -> None:
    """Inside its category that is a rise (R8); the customer is told of both, and of the claim once (T4)."""
    office.hear(say.created(), say.assigned("missing_attribution", team="content"))
    claim = {"category": "ip_attribution", "subcategory": "rights_holder_claim", "team": "legal", "to_level": 3}
    office.hear(say.escalated(**claim, criterion="rights_holder_claim"))
    office.hear(say.escalated(**claim, criterion="legal_dispute", decision_id="d-3"))
    told = sorted(one.intent.template for one in office.told_to("customer"))
    assert told == ["escalation", "escalation", "initial_response", "receipt", "rights_holder_claim"]


def test_a_second_created_changes_nothing(office, say) -> None:
    """The first stands; the router sets the second aside."""
    office.hear(say.created(), say.created(requester={"id": "u-2", "email": "other@example.com"}), say.assigned())
    assert office.tickets.get("T-1").customer.email == "ada@example.com"


@pytest.mark.parametrize(
    ("subcategory", "text"),
    [
        ("payment_failure", "resolution"),
        ("user_question", "resolution"),
        ("missing_attribution", "missing_attribution"),
        ("false_positive", "false_positive"),
    ],
)
def test_on_resolved_a_text_about_ip_replaces_the_resolution_text(office, say, subcategory, text) -> None:
    facts = {"attribution_added": True, "attribution_removed": True, "detection_reviewed": True}
    office.hear(say.created(), say.assigned(subcategory), say.resolved(facts=facts))
    assert office.customer()[text] == "queued"
    assert len(office.told_to("customer")) == 2


def test_a_resolution_that_reports_nothing_holds_the_text_that_claims_something(office, say) -> None:
    """Missing attribution is not said to be added before somebody has reported it (T2)."""
    office.hear(say.created(), say.assigned("missing_attribution"), say.resolved(facts={"attribution_added": "yes"}))
    held = office.latest("missing_attribution")
    assert (held.state, held.reason, held.missing) == ("held", "missing_facts", ("attribution_added",))


def test_a_text_without_its_owner_is_held(office, say) -> None:
    """Never a literal bracket in an outgoing mail (HD-66, T2)."""
    created = say.created(ip={"id": "ip-1", "character": "Moonbear"})
    office.hear(created, say.assigned("missing_attribution"), say.resolved(facts={"attribution_added": True}))
    assert office.latest("missing_attribution").missing == ("owner",)


def test_the_full_text_of_a_claim_waits_for_what_its_resolution_reports(office, say) -> None:
    """The receipt goes out at once, the full text with its facts, and no resolution text beside it (T2, T4)."""
    office.hear(say.created(), say.assigned("rights_holder_claim", team="legal", level=3))
    assert office.latest("rights_holder_claim").missing == ("attribution_added", "detection_reviewed")
    office.hear(say.resolved(facts={"attribution_added": True, "detection_reviewed": True}))
    assert office.customer() == {"receipt": "queued", "rights_holder_claim": "queued"}


def test_the_full_text_of_a_claim_does_not_say_escalated_while_legal_does_not_have_it(office, say) -> None:
    office.hear(say.created(), say.assigned("rights_holder_claim", team="content", level=2))
    assert "escalated_to_legal" in office.latest("rights_holder_claim").missing


def test_a_resolution_without_words_is_held(office, say) -> None:
    office.hear(say.created(), say.assigned(), say.resolved(summary="  \n"))
    assert office.latest("resolution").missing == ("resolution_details",)


def test_reopening_takes_back_what_says_that_the_matter_is_settled(office, say) -> None:
    """Also what was reported as done counts no more: the next resolution has to report it again (T2)."""
    claims = {"attribution_added": True}
    office.hear(say.created(), say.assigned("missing_attribution"), say.resolved(facts=claims), say.reopened())
    first = office.latest("missing_attribution")
    assert (first.state, first.reason) == ("superseded", "outdated")
    office.hear(say.resolved())
    assert office.latest("missing_attribution").missing == ("attribution_added",)


def test_a_customers_message_on_a_resolved_ticket_reopens_it(office, say) -> None:
    """An agent's or a machine's does not (L12, HD-37)."""
    office.hear(say.created(), say.assigned("login"), say.resolved())
    office.hear(say.wrote("agent"), say.wrote(automated=True))
    assert office.latest("resolution").state == "queued"
    office.hear(say.wrote())
    assert office.latest("resolution").state == "superseded"


def test_after_seven_days_a_resolution_stands(office, say) -> None:
    """7 d 0 s is the last moment (L12)."""
    office.hear(say.created(), say.assigned("login"), say.resolved())
    office.hear(say.reopened(at=say.at + timedelta(days=7, microseconds=1)))
    assert office.latest("resolution").state == "queued"
    office.hear(say.reopened(at=say.at + timedelta(days=7)))
    assert office.latest("resolution").state == "superseded"


def test_what_happened_before_the_resolution_reopens_nothing(office, say) -> None:
    """It only arrived later (L13): the router leaves the ticket resolved as well."""
    office.hear(say.created(), say.assigned("login"), say.resolved())
    office.hear(say.reopened(at=say.at - timedelta(microseconds=1)))
    assert office.latest("resolution").state == "queued"


def test_a_second_resolution_stands_for_the_first_that_is_held(office, say) -> None:
    office.hear(say.created(), say.assigned("missing_attribution"), say.resolved())
    office.hear(say.resolved(facts={"attribution_added": True}))
    assert [one.state for one in office.told_to("customer")] == ["queued", "superseded", "queued"]


def test_an_escalation_is_told_to_the_customer_with_team_and_reason(office, say) -> None:
    office.hear(
        say.created(number="12345"), say.assigned(), say.escalated(criterion="needs_code_fix", team="engineering")
    )
    mail = office.mail("escalation")
    assert mail.subject == "Re: [Ticket #12345] - Escalated"
    assert "escalated your issue to our Engineering Team for further" in mail.body
    assert office.desk.policy.texts.escalation_details["needs_code_fix"] in mail.body


def test_the_initial_response_speaks_of_the_matter(office, say) -> None:
    office.hear(say.created(number="12345"), say.assigned("login"))
    mail = office.mail("initial_response")
    assert mail.subject == "Re: [Ticket #12345] Login"
    assert mail.body.startswith("Hi Ada,\n")
    assert "\nStorytailor Support Team\nStorytailor Support Team\n" in mail.body


def test_a_customer_without_a_name_is_greeted_all_the_same(office, say) -> None:
    """User name → "there" (T2)."""
    office.hear(say.created(requester={"id": "u-1", "email": "a@example.com"}), say.assigned())
    assert office.mail("initial_response").body.startswith("Hi there,\n")


def test_a_ticket_in_triage_gets_general_words(office, say) -> None:
    """Not classified yet, and answered nevertheless (C3)."""
    office.hear(say.created(), say.assigned(None))
    assert office.mail("initial_response").subject == "Re: [Ticket #T-1] Your Request"


def test_the_agent_who_resolved_signs(office, say) -> None:
    by = {"kind": "agent", "id": "a-1", "name": "Robin"}
    office.hear(say.created(), say.assigned(), say.resolved(summary="We reset\nyour password.", by=by))
    body = office.mail("resolution").body
    assert "\nWe reset\nyour password.\n" in body
    assert body.endswith("Best regards,\nRobin\nStorytailor Support Team\n")


@pytest.mark.parametrize("subcategory", SUBCATEGORIES[Category.SAFETY])
def test_of_a_safety_ticket_nothing_goes_to_the_customer_by_itself(office, say, subcategory) -> None:
    """Restricted or not: suppressed, and what would be sent names no matter (T3, HD-68, SN-40)."""
    office.hear(say.created(), say.assigned(subcategory), say.escalated(criterion="report_submission"), say.resolved())
    assert set(office.customer().values()) == {"suppressed"}
    assert office.mail("initial_response", released=True).subject == "Re: [Ticket #T-1] Your Request"


def test_a_restricted_ticket_is_told_of_like_any_other_of_safety(office, say) -> None:
    """SN-40: no mail to the user, the suppression is told, and field by field nothing differs but ids (S5, S9, T3)."""
    safety = {"team": "safety", "owning_team": "safety"}
    office.hear(say.created(), say.restricted(), say.assigned(None, category="safety", restricted=True, **safety))
    office.hear(say.created("T-2"), say.assigned("privacy_concern", "T-2", **safety))
    seen: dict[str, list[dict[str, Any]]] = {"T-1": [], "T-2": []}
    for one in office.told:
        seen[one.key].append(json.loads(one.value) | {"fact": one.wire_type, "ticket_id": "T", "notification_id": "n"})
    assert seen["T-1"] == seen["T-2"]
    assert [(one["audience"], one["reason_code"]) for one in seen["T-1"]] == [
        ("team", None),
        ("customer", "safety_ticket"),
    ]


def test_the_safety_bridge_alone_restricts(office, say) -> None:
    """From anyone else the mark is ignored (S9)."""
    office.hear(say.restricted(source="/helpdesk"), say.created(), say.assigned())
    assert office.customer() == {"initial_response": "queued"}
    office.hear(say.restricted(), say.resolved())
    assert office.customer()["resolution"] == "suppressed"


def test_a_closed_ticket_is_not_written_to(office, say) -> None:
    """Spam, duplicates and what was withdrawn; what is on its way is taken back."""
    office.hear(say.created(), say.assigned(), say.closed(), say.resolved())
    assert {one.reason for one in office.told_to("customer")} == {"ticket_closed"}


@pytest.mark.parametrize("comes_first", ["closed", "refused"])
def test_merges_in_a_circle_are_told_to_those_who_triage_and_the_ticket_stays_open(office, say, comes_first) -> None:
    """HD-30: the two topics come in either order, and the customer is still written to (C3)."""
    closed = say.closed()
    refused = say.refused(request_id=closed.id)
    office.hear(say.created(), say.assigned(team="finance"))
    office.hear(*((closed, refused) if comes_first == "closed" else (refused, closed)))
    alarms = [one for one in office.notifications._known.values() if one.intent.template == "merge_circle"]
    assert [one.intent.recipient for one in alarms] == ["team/customer_service", "lead/customer_service"]
    assert "merged into another one" in office.mail("merge_circle").body
    office.hear(say.resolved())
    assert office.customer()["resolution"] == "queued"


def test_nothing_is_told_of_other_refusals(office, say) -> None:
    """They are the answer to whoever asked (E7)."""
    office.hear(say.created(), say.assigned(), say.refused(reason_code="not_lower"))
    assert "merge_circle" not in {one.intent.template for one in office.notifications._known.values()}


def test_a_safety_ticket_does_not_close_like_spam(office, say) -> None:
    """Closing is refused there (S1): what a person may release stays."""
    office.hear(say.created(), say.assigned("privacy_concern"), say.closed())
    assert office.customer() == {"initial_response": "suppressed"}


@pytest.mark.parametrize(
    ("email", "reason"),
    [
        (None, "no_address"),
        ("", "no_address"),
        ("a@x.example, b@x.example", "no_address"),
        ("a@x.example\r\nBcc: b@x.example", "no_address"),
        ("<a@x.example>", "no_address"),
        ("no-reply@x.example", "machine_address"),
        ("MAILER-DAEMON@x.example", "machine_address"),
        ("bounces+123@x.example", "machine_address"),
    ],
)
def test_who_cannot_be_written_to_is_not(office, say, email, reason) -> None:
    """One plain address of a person, or nothing; machines would only answer (HD-63)."""
    office.hear(say.created(requester={"id": "u-1", "email": email}), say.assigned())
    assert (office.latest("initial_response").state, office.latest("initial_response").reason) == ("suppressed", reason)


def test_usual_addresses_are_addresses() -> None:
    assert all(is_address(one) for one in ("a@b.example", "o'neil+tag@x-y.example", "ADA@EXAMPLE.COM"))
    assert not any(is_machine(one) for one in ("noreen@example.com", "nora.reply@example.com", "bouncer@example.com"))


@pytest.mark.parametrize(
    ("say_it", "teams"),
    [
        ({"team": "legal", "level": 3, "subcategory": "rights_holder_claim"}, ["team/legal"]),
        (
            {
                "team": "child_safety_agent",
                "level": 0,
                "owning_team": "safety",
                "also_notified": ["safety", "legal_compliance"],
                "subcategory": "mandatory_reporting",
            },
            ["team/legal_compliance", "team/safety"],
        ),
    ],
)
def test_a_decision_is_told_to_its_team_and_to_whom_it_names(office, say, say_it, teams) -> None:
    """Each once; the Child Safety Agent reads no mail (R5, R8, T4)."""
    office.hear(say.assigned(**say_it))
    assert office.recipients("team") == teams


def test_a_rise_and_a_fall_are_told_to_the_team_that_has_the_ticket_then(office, say) -> None:
    office.hear(say.created(), say.assigned(), say.escalated(), say.deescalated())
    assert office.recipients("team") == ["team/customer_service", "team/finance", "team/technical_support"]
    assert "Reason: needs advanced knowledge" in office.mail("team_escalated").body


def test_staff_mail_about_a_safety_ticket_names_no_matter(office, say) -> None:
    """No number and no word of safety in the subject, no class and no criterion in the body (S5)."""
    office.hear(say.created(number="12345"), say.assigned("crisis_detection"))
    office.hear(say.escalated(criterion="law_enforcement_request", team="legal_compliance"), say.breached())
    for template in ("team_assigned", "team_escalated", "sla_breached"):
        mail = office.mail(template)
        assert mail.subject.startswith("[Ticket] ")
        assert "safety" not in mail.subject.lower()
        assert "crisis" not in mail.body
        assert "law" not in mail.body


def test_a_breach_is_told_to_team_and_lead_at_once(office, say) -> None:
    """(T6) Also before the ticket has been routed: then to those who triage (C3, L16)."""
    office.hear(say.breached(), say.assigned(team="finance"), say.breached(due_at="2026-03-02T09:00:00Z"))
    assert office.recipients("team")[:2] == ["team/customer_service", "team/finance"]
    assert office.recipients("lead") == ["lead/customer_service", "lead/finance"]
    assert "Was due: 2026-03-02 09:00 UTC" in office.mail("sla_breached").body


def test_a_warning_is_told_to_the_team_and_has_nothing_to_say_after_the_breach(office, say) -> None:
    """(L10)"""
    office.hear(say.assigned(), say.warned())
    warning = office.latest("sla_warning")
    assert warning.intent.recipient == "team/customer_service"
    assert "has used 75% of the time for its initial response" in office.mail("sla_warning").body
    after = office.desk.verdict(warning.intent, None, now=office.now.advance(hours=48))
    assert (after.state, after.reason) == ("expired", "too_late")


def sent(office: Any) -> None:
    """Everything so far has gone out."""
    for one in list(office.notifications._known.values()):
        office.notifications.save(replace(one, state=State.SENT, attempts=1, next_look_at=None))


def corrections(office: Any) -> list[tuple[str, str]]:
    return [
        (one.intent.recipient, one.state.value)
        for one in office.notifications._known.values()
        if one.intent.template == "sla_corrected"
    ]


def test_whoever_was_told_of_a_breach_that_is_withdrawn_is_told_so_once(office, say) -> None:
    """HD-65: team and lead, whoever has the ticket now, and never the customer (L13)."""
    breach = say.breached()
    office.hear(say.created(), say.assigned(team="finance"), say.warned(threshold=0.9), breach)
    sent(office)
    office.hear(say.escalated(team="executive"), say.corrected(caused_by=breach.id))
    assert corrections(office) == [("team/finance", "queued"), ("lead/finance", "queued")]
    mail = office.mail("sla_corrected")
    assert "about the target for its initial response no longer holds" in mail.body
    assert "Now: met since 2026-03-03 15:00 UTC" in mail.body


def test_what_was_not_sent_yet_of_a_withdrawn_breach_is_not_sent_any_more(office, say) -> None:
    """HD-65: then there is nothing to take back (L13)."""
    breach = say.breached()
    office.hear(say.assigned(), breach, say.corrected(caused_by=breach.id))
    assert corrections(office) == []
    assert {one.state for one in office.notifications._known.values() if one.intent.alarm} == {State.SUPERSEDED}


def test_what_may_have_arrived_is_taken_back_and_not_tried_again(office, say) -> None:
    """HD-65: one try of the mail to the team has begun, that to the lead has not (L13)."""
    breach = say.breached()
    office.hear(say.assigned(), breach)
    to_team, to_lead = (one for one in office.notifications._known.values() if one.intent.alarm)
    office.notifications.save(replace(to_team, attempts=1))
    office.hear(say.corrected(caused_by=breach.id))
    assert corrections(office) == [("team/customer_service", "queued")]
    assert office.notifications.find(to_team.id).state is State.SUPERSEDED
    assert office.notifications.find(to_lead.id).state is State.SUPERSEDED


@pytest.mark.parametrize(
    ("correction", "is_withdrawn"),
    [
        ({"state": "met", "elapsed_share": 0.6}, True),
        ({"state": "met", "elapsed_share": 0.75}, False),
        ({"state": "paused", "elapsed_share": 0.6}, True),
        ({"state": "running", "previous_due_at": "2026-03-05T15:00:00Z"}, True),
        ({"state": "running"}, False),
        ({"state": "breached"}, False),
        ({"state": "met", "elapsed_share": 0.6, "cycle": 2}, False),
        ({"state": "met", "elapsed_share": 0.6, "milestone": "resolution"}, False),
    ],
)
def test_a_warning_is_withdrawn_when_its_share_was_not_reached_or_its_due_time_moved(
    office, say, correction: dict[str, Any], is_withdrawn: bool
) -> None:
    """HD-65: 75 % were told of this clock (L10, L13)."""
    office.hear(say.assigned(), say.warned())
    sent(office)
    office.hear(say.corrected(**correction))
    assert bool(corrections(office)) is is_withdrawn


def test_the_lead_hears_that_a_ticket_keeps_its_level(office, say) -> None:
    """HD-65: an escalation is not undone by itself (R9)."""
    breach = say.breached(milestone="escalation")
    office.hear(say.assigned(), breach)
    sent(office)
    office.hear(say.corrected(milestone="escalation", state="cancelled", caused_by=breach.id))
    assert "keeps its level until somebody lowers it" in office.mail("sla_corrected").body


def test_who_let_it_lie_is_paged_beside_those_on_duty(office, say) -> None:
    """SN-38: by person, whoever is on duty now (S4)."""
    office.hear(say.paged(roles=["primary"], persons=["lee"]))
    assert office.recipients("on_call") == sorted({*office.recipients("on_call"), "lee"})


def test_a_page_for_an_open_report_outlives_the_acknowledgement(office, say) -> None:
    """SN-17: it is a step of a ladder of its own, and taking the incident does not take the report (S4)."""
    of_report = {"reason_code": "report_open", "outlives_acknowledgement": True, "roles": ["primary"]}
    office.hear(say.paged(roles=["primary"]), say.paged(**of_report))
    office.hear(say.acknowledged())
    assert sorted(one.state for one in office.told_to("on_call")) == ["queued", "superseded"]


def test_everybody_on_duty_is_paged_once_however_many_roles_they_hold(office, say) -> None:
    """Reference and severity, nothing else (S4, S5)."""
    office.hear(say.paged())
    assert office.recipients("on_call") == ["pat", "sam"]
    mail = office.mail("page")
    assert mail.subject == "[SI-0A1B2C3D] Action needed now"
    assert "Severity: critical" in mail.body
    assert "crisis" not in mail.body


def test_a_drill_says_so_first(office, say) -> None:
    assert office.hear(say.paged(mode="drill")).mail("page").subject == "DRILL [SI-0A1B2C3D] Action needed now"


ROTATION = """
people: [{id: ada, email: ada@staff.example}, {id: ben, email: ben@staff.example}, {id: cem, email: cem@staff.example}]
schedules:
  primary:
    rotations: [{zone: UTC, start: "2026-03-03T03:00", shift_hours: 12, members: [ada, ben]}]
    overrides: [{from: 2026-03-03T15:04:00Z, until: 2026-03-03T20:00:00Z, person: cem, created_at: 2026-03-03T15:01:00Z}]
"""


def test_at_a_handover_the_incoming_person_is_told_so_and_the_outgoing_is_paged_on(office, say) -> None:
    """SN-55: unacknowledged since 14:58, the shift ends at 15:00; who stands in later is paged at the next step."""
    teams = yaml.safe_dump({"teams": office.desk.directory.model_dump(mode="json")["teams"]})
    office.desk = replace(office.desk, directory=Directory.from_yaml(teams + ROTATION))
    since, shift = "2026-03-03T14:58:00Z", "2026-03-03T15:00:00Z"

    def paged(**data) -> list[str]:
        known = len(office.told_to("on_call"))
        office.hear(say.paged(roles=["primary"], **data))
        return [one.intent.recipient for one in office.told_to("on_call")[known:]]

    office.now.advance(minutes=-2)
    assert paged(on_duty_since=since) == ["ada"]
    office.now.advance(minutes=2, seconds=1)
    assert paged(on_duty_since=shift, reason_code="hand_over") == ["ben"]
    assert office.mail("page").body.startswith("Hand-over: you have come on duty")
    assert office.mail("page").subject == "[SI-0A1B2C3D] Action needed now"
    office.now.advance(minutes=1)
    assert paged(on_duty_since=since, step=1) == ["ada", "ben"]
    assert office.mail("page").body.startswith("An incident needs you now.")
    office.now.advance(minutes=3)
    assert paged(on_duty_since=since, step=2) == ["ada", "ben", "cem"]


@pytest.mark.parametrize(
    "reference",
    ["SI-1=?UTF-8?Q?=0A?=Bcc:x@y", "SI-0A1B2C3D\u2028Bcc: x", "SI-0A1B2C3I", "si-0a1b2c3d", "X" * 120],
)
def test_a_page_goes_out_whatever_its_reference_looks_like(office, say, reference) -> None:
    """What is not a reference is not printed; the page still says that somebody is needed (S6, SN-28)."""
    office.hear(say.paged(reference, severity_working="{{ nonsense }}"))
    page = office.latest("page")
    assert page.state == "queued"
    assert office.mail("page").subject == "[SI] Action needed now"
    assert "Severity: unknown" in office.mail("page").body


def test_a_newer_page_stands_for_the_older_to_the_same_person(office, say) -> None:
    """It alone is tried on (S4)."""
    office.hear(say.paged(), say.paged(step=1, roles=["primary"]))
    older, other, newer = office.told_to("on_call")
    assert (older.state, older.reason, older.covered_by) == ("superseded", "newer_page", newer.id)
    assert (other.state, newer.state) == ("queued", "queued")


def test_the_last_acknowledgement_ends_the_pages_of_its_epoch(office, say) -> None:
    """While a role that has to acknowledge has not, pages are tried on (S4)."""
    office.hear(say.paged(epoch=1), say.acknowledged(handling="paging"))
    assert {one.state for one in office.told_to("on_call")} == {"queued"}
    office.hear(say.acknowledged())
    assert {(one.state, one.reason) for one in office.told_to("on_call")} == {("superseded", "acknowledged")}
    office.hear(say.paged(epoch=2), say.acknowledged(epoch=1))
    assert [one.state for one in office.told_to("on_call")][2:] == ["queued", "queued"]


def test_a_page_that_finds_nobody_on_duty_is_a_failure_and_not_a_silence(office, say) -> None:
    office.hear(say.paged(roles=["legal_compliance"]))
    assert [(one.state, one.reason) for one in office.told_to("on_call")] == [("failed", "nobody_on_duty")]


@pytest.mark.parametrize(
    ("event_class", "about", "data", "words"),
    [
        (SafetyFeedSilent, "/agent", {"silent_seconds": 95}, "A source of safety signals is not heard any more."),
        (SafetyFeedGap, "/agent", {"missing": [{"first": 1, "last": 2}]}, "has published more than has arrived here."),
        (SafetyStormStarted, "storm", {"opened": 60, "within_seconds": 60}, "Far more safety incidents than usual"),
        (
            SafetyStepEmpty,
            "secondary",
            {"incident_ref": "SI-0A1B2C3D", "epoch": 1, "lane": "high"},
            "found nobody on duty",
        ),
    ],
)
def test_who_looks_after_the_watch_is_told_of_it_on_the_urgent_lane(
    office, say, event_class, about, data, words
) -> None:
    """SN-08, SN-30, SN-44: a constant subject, what it is about, and no incident."""
    message = say.noticed(event_class, about, **data)
    office.hear(message, message)
    (notice,) = office.told_to("on_call")
    assert (notice.intent.recipient, notice.is_urgent, notice.intent.incident_ref) == ("pat", True, None)
    mail = office.mail("watch")
    assert mail.subject == "[Safety watch] Action needed now"
    assert words in mail.body
    assert f"About: {about}" in mail.body
    assert "SI-" not in mail.body


def test_a_notice_that_finds_nobody_is_a_failure_and_not_a_silence(office, say) -> None:
    office.hear(say.noticed(SafetyFeedSilent, "/agent", silent_seconds=95, roles=["ops"]))
    assert [(one.state, one.reason) for one in office.told_to("on_call")] == [("failed", "nobody_on_duty")]


def test_every_trigger_has_a_text_for_every_other_subcategory() -> None:
    assert all(None in row for row in TEXTS.values())
