"""HD-63, HD-64: what may be no ticket at all. These are suggestions: they move no ticket, and a person closes it."""

from datetime import timedelta
from typing import Any

import pytest

from router.domain.classification import Classifier
from router.domain.machine import is_machine_mail
from shared.events.screening import SafetyScreeningRequested
from shared.events.ticket import TicketClosed, TicketCreated, TicketSignalsAdded
from shared.policy.model import Policy
from shared.testing.builders import AT
from shared.vocabulary import Hint

BOUNCE = {"subject": "Undelivered Mail Returned to Sender", "body": "The message could not be delivered."}
SPAM = {"subject": "SEO services", "body": "We bring your site to the first page of Google."}
LOGIN = {"category": "account", "subcategory": "login"}


def hints(assigned: Any) -> list[str]:
    return [suggestion.hint for suggestion in assigned.suggestions]


def with_hygiene(policy: Policy, **numbers: int) -> Policy:
    return policy.model_copy(update={"hygiene": policy.hygiene.model_copy(update=numbers)})


@pytest.mark.parametrize(
    "attributes",
    [
        {"Auto-Submitted": "auto-replied"},
        {"auto_submitted": "auto-generated; owner-email=x"},
        {"Precedence": "bulk"},
        {"PRECEDENCE": " Auto-Reply "},
        {"precedence": "list"},
        {"X-Auto-Response-Suppress": "All"},
        {"content_type": "multipart/report; report-type=delivery-status"},
        {"Content-Type": "Multipart/Report"},
        {"Return-Path": "<>"},
        {"X-Failed-Recipients": "somebody"},
    ],
    ids=str,
)
def test_the_marks_of_a_machine_are_known_in_any_spelling(attributes) -> None:
    """RFC 3834, delivery reports, the empty return path (HD-63)."""
    assert is_machine_mail(attributes)


@pytest.mark.parametrize(
    "attributes",
    [
        None,
        {},
        {"Auto-Submitted": "no"},
        {"Auto-Submitted": ""},
        {"Precedence": "first-class"},
        {"X-Auto-Response-Suppress": "None"},
        {"content_type": "multipart/alternative"},
        {"Return-Path": "<u-1@example.org>"},
        {"auto_submitted": True, "precedence": ["bulk"], "content_type": None},
        {"order": "multipart/report"},
    ],
    ids=str,
)
def test_a_persons_mail_has_none_of_them(attributes) -> None:
    """Values that are no text, and other attributes, say nothing (HD-63)."""
    assert not is_machine_mail(attributes)


@pytest.mark.parametrize(
    "attributes", [{"Auto-Submitted": "auto-replied"}, {"content_type": "multipart/report"}], ids=str
)
def test_a_marked_mail_is_suggested_to_be_a_machines(router, attributes) -> None:
    """HD-63: by its marks alone, whatever its words."""
    [assigned] = router.handle(TicketCreated, attributes=attributes)
    assert hints(assigned) == [Hint.MACHINE_MAIL]


@pytest.mark.parametrize(
    "subject",
    [
        "Undelivered Mail Returned to Sender",
        "Delivery Status Notification (Failure)",
        "Automatic reply: Help",
        "Out of office",
        "Abwesenheitsnotiz: Hilfe",
        "Automatische Antwort: Hilfe",
        "Respuesta automática: ayuda",
        "Fuera de la oficina",
        "Réponse automatique : aide",
        "Absence du bureau",
    ],
)
def test_the_subjects_of_machines_are_known_in_four_languages(router, subject: str) -> None:
    """HD-63: bounces and out-of-office answers; one that is marked as well is suggested once."""
    [assigned] = router.handle(TicketCreated, subject=subject, attributes={"Auto-Submitted": "auto-replied"})
    [by_subject_alone] = router.handle(TicketCreated, ticket_id="T-2", subject=subject, requester={"id": "u-2"})
    assert hints(assigned) == hints(by_subject_alone) == [Hint.MACHINE_MAIL]


@pytest.mark.parametrize(
    "subject", ["I cannot log in", "Ich kann mich nicht anmelden", "No puedo entrar", "Je suis bloqué"]
)
def test_the_subjects_of_people_suggest_nothing(router, subject: str) -> None:
    """HD-63."""
    [assigned] = router.handle(TicketCreated, subject=subject)
    assert assigned.suggestions == ()


def machine_mails(router, *at: timedelta, requester: str = "u-1") -> list[list[str]]:
    """Of bounces with words of their own at these times, what each suggests."""
    found = []
    for number, after in enumerate(at):
        [assigned] = router.handle(
            TicketCreated,
            ticket_id=f"{requester}-{number}",
            requester={"id": requester},
            occurred_at=AT + after,
            **BOUNCE | {"body": f"Message {number} could not be delivered."},
        )
        found.append(hints(assigned))
    return found


def test_several_machine_mails_within_the_window_are_a_loop(router, policy: Policy) -> None:
    """HD-63: more than the policy's number of one requester within the hour, the hour included."""
    assert (policy.hygiene.loop_machine_mails, policy.hygiene.flood_within_minutes) == (3, 60)
    minutes = (timedelta(), timedelta(minutes=1), timedelta(minutes=2), timedelta(minutes=60))
    machine = [Hint.MACHINE_MAIL]
    assert machine_mails(router, *minutes) == [machine, machine, machine, [*machine, Hint.LOOP]]


def test_machine_mails_over_a_longer_time_are_no_loop(router) -> None:
    """HD-63: a microsecond more than the hour."""
    minutes = (timedelta(), timedelta(minutes=1), timedelta(minutes=2), timedelta(minutes=60, microseconds=1))
    assert machine_mails(router, *minutes)[-1] == [Hint.MACHINE_MAIL]


def test_machine_mails_of_several_requesters_are_no_loop(router) -> None:
    """HD-63: two mailboxes that are out of office do not answer each other."""
    found = machine_mails(router, *[timedelta()] * 3) + machine_mails(router, *[timedelta()] * 3, requester="u-2")
    assert found == [[Hint.MACHINE_MAIL]] * 6


def test_a_person_between_machine_mails_is_in_no_loop(router) -> None:
    """HD-63: only what a machine wrote is counted, and only a machine's mail is told so."""
    machine_mails(router, *[timedelta()] * 3)
    [assigned] = router.handle(TicketCreated, subject="I cannot log in")
    assert assigned.suggestions == ()


def many(router, count: int, *, requester: str = "u-1", minutes: int = 0) -> list[Any]:
    """The decisions of tickets with words of their own."""
    return [
        router.handle(
            TicketCreated,
            ticket_id=f"{requester}-{number}",
            requester={"id": requester},
            subject=f"Number {number}",
            occurred_at=AT + timedelta(minutes=minutes * number),
            **LOGIN,
        )[0]
        for number in range(count)
    ]


def test_more_tickets_than_a_person_writes_are_a_flood(router, policy: Policy) -> None:
    """HD-64: those beyond the policy's number."""
    router.unit.policy = with_hygiene(policy, flood_tickets=4)
    assert [hints(assigned) for assigned in many(router, 6)] == [[], [], [], [], [Hint.FLOOD], [Hint.FLOOD]]


def test_as_many_tickets_over_a_longer_time_are_no_flood(router, policy: Policy) -> None:
    """HD-64: four in any hour are a person's."""
    router.unit.policy = with_hygiene(policy, flood_tickets=4)
    assert {assigned.suggestions for assigned in many(router, 12, minutes=16)} == {()}


def test_tickets_of_several_requesters_are_no_flood(router, policy: Policy) -> None:
    """HD-64: a busy day is none."""
    router.unit.policy = with_hygiene(policy, flood_tickets=4)
    assert {assigned.suggestions for assigned in many(router, 4) + many(router, 4, requester="u-2")} == {()}


def test_a_flood_changes_nothing_but_the_suggestion(router, policy: Policy) -> None:
    """HD-64: team, level, clauses and all that clocks are counted from are those of the first; a person closes it."""
    router.unit.policy = with_hygiene(policy, flood_tickets=4)
    own = {"ticket_id", "decision_id", "suggestions"}
    first, *_, flooding = (assigned.model_dump(exclude=own) for assigned in many(router, 6))
    assert flooding == first
    assert router.ticket("u-1-5").is_open


@pytest.mark.parametrize(
    "data",
    [
        {"subject": "SEO services", "body": "First page of Google."},
        {"subject": "Hallo", "body": "Wir bieten Suchmaschinenoptimierung."},
        {"subject": "Hola", "body": "Mejore su posicionamiento SEO."},
        {"subject": "Bonjour", "body": "Nous offrons le référencement naturel."},
    ],
    ids=["en", "de", "es", "fr"],
)
def test_words_of_spam_suggest_spam(router, data) -> None:
    """HD-64: in four languages; upstream's category stays as it is."""
    [assigned] = router.handle(TicketCreated, **data, **LOGIN)
    assert (hints(assigned), assigned.subcategory, assigned.team) == ([Hint.SPAM], "login", "customer_service")


@pytest.mark.parametrize("noise", [SPAM, BOUNCE], ids=["spam", "a machine's mail"])
def test_a_crisis_in_what_may_be_no_ticket_goes_to_safety(router, noise) -> None:
    """HD-63, HD-64: no safety phrase is lost in one (C4, R5, S6)."""
    data = noise | {"body": f"{noise['body']} I want to die."}
    screening, assigned = router.handle(TicketCreated, **data)
    assert isinstance(screening, SafetyScreeningRequested)
    assert (assigned.subcategory, assigned.level, assigned.team) == ("crisis_detection", 0, "child_safety_agent")
    assert hints(assigned) != []


def test_a_crisis_inside_a_flood_goes_to_safety(router, policy: Policy) -> None:
    """HD-64: the last of many is read like the first (S6)."""
    router.unit.policy = with_hygiene(policy, flood_tickets=4)
    many(router, 5)
    _, assigned = router.handle(TicketCreated, ticket_id="T-9", body="I want to die")
    assert (assigned.team, hints(assigned)) == ("child_safety_agent", [Hint.FLOOD])


def test_what_looks_like_spam_is_raised_like_any_other(router) -> None:
    """HD-64: criteria count as ever (E0), until a person closes it."""
    router.handle(TicketCreated, **SPAM, **LOGIN)
    [escalated] = router.handle(TicketSignalsAdded, signals=["needs_code_fix"])
    assert (escalated.to_level, escalated.team) == (3, "engineering")


def test_a_person_closes_what_was_suggested(router) -> None:
    """HD-64: the suggestion closed nothing."""
    router.handle(TicketCreated, **SPAM)
    assert router.ticket().is_open
    assert router.handle(TicketClosed, reason="spam") == []
    assert router.ticket().closed_at == AT


def test_hints_are_no_part_of_what_a_ticket_is_about(classifier: Classifier) -> None:
    """HD-63: a bounce of which the words say nothing else stays in triage (C3)."""
    reading = classifier.read(*BOUNCE.values())
    assert (reading.hints, reading.topics, reading.criteria, reading.crisis) == ((Hint.MACHINE_MAIL,), (), (), ())
