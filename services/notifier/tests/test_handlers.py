"""What people can do about messages that wait, and what is said of each message (T2, T3, S5)."""

import json

import pytest

from notifier import handlers
from notifier.domain.notification import FactsMissing, NotHeld, NotMissing
from shared.errors import UnknownTicket


def test_a_person_supplies_the_missing_fact_and_the_message_goes_out(office, say) -> None:
    """(T2)"""
    office.hear(say.created(), say.assigned("missing_attribution"), say.resolved())
    unit = office.unit()
    done = handlers.complete(office.latest("missing_attribution"), {"attribution_added": True}, "robin", unit)
    assert (done.state, done.missing, done.decided_by) == ("queued", (), "robin")
    assert "Moonbear belongs to Moon Studios." in office.mail("missing_attribution").body


def test_while_another_fact_is_missing_the_message_stays_held(office, say) -> None:
    office.hear(say.created(), say.assigned("false_positive"), say.resolved())
    half = handlers.complete(office.latest("false_positive"), {"attribution_removed": True}, "robin", office.unit())
    assert (half.state, half.missing) == ("held", ("detection_reviewed",))
    both = handlers.complete(half, {"detection_reviewed": True}, "robin", office.unit())
    assert both.state == "queued"


@pytest.mark.parametrize(
    "facts",
    [
        {"attribution_added": "yes"},
        {"attribution_added": False},
        {"owner": "Me"},
        {"agent_name": "x"},
        {"nonsense": True},
    ],
)
def test_only_a_missing_fact_can_be_supplied_and_only_with_a_value_that_can_stand_for_it(office, say, facts) -> None:
    office.hear(say.created(), say.assigned("missing_attribution"), say.resolved())
    with pytest.raises(NotMissing):
        handlers.complete(office.latest("missing_attribution"), facts, "robin", office.unit())


def test_a_person_releases_a_message_of_a_safety_ticket(office, say) -> None:
    """Suppressed until then, and once only (T3)."""
    office.hear(say.created(), say.assigned("privacy_concern"))
    released = handlers.release(office.latest("initial_response"), "sam", office.unit())
    assert (released.state, released.released, released.decided_by) == ("queued", True, "sam")
    with pytest.raises(NotHeld):
        handlers.release(released, "sam", office.unit())


def test_releasing_does_not_stand_for_a_fact(office, say) -> None:
    """Nor for an address (T2)."""
    office.hear(say.created(), say.assigned("missing_attribution"), say.resolved())
    with pytest.raises(FactsMissing):
        handlers.release(office.latest("missing_attribution"), "sam", office.unit())
    office.hear(say.created("T-2", requester={"id": "u-2"}), say.assigned("privacy_concern", "T-2"))
    after = handlers.release(office.latest("initial_response"), "sam", office.unit())
    assert (after.state, after.reason) == ("suppressed", "no_address")


def test_what_does_not_wait_for_a_person_cannot_be_let_go(office, say) -> None:
    office.hear(say.created(), say.assigned())
    waiting = office.latest("initial_response")
    with pytest.raises(NotHeld):
        handlers.release(waiting, "sam", office.unit())
    with pytest.raises(NotHeld):
        handlers.complete(waiting, {"user_name": "x"}, "sam", office.unit())


def test_the_same_intent_always_has_the_same_id(desk, office, say) -> None:
    """However often its cause is delivered, and by whichever replica: one delivery per intent."""
    messages = (say.created(), say.assigned(), say.escalated(), say.paged(), say.breached())
    again = type(office)(desk).hear(*messages)
    office.hear(*messages)
    assert list(office.notifications._known) == list(again.notifications._known)


@pytest.mark.parametrize("event", ["resolved", "reopened", "closed", "escalated", "deescalated"])
def test_an_event_of_a_ticket_not_seen_yet_waits_for_it(office, say, event) -> None:
    """(L13)"""
    with pytest.raises(UnknownTicket):
        office.hear(getattr(say, event)())
    assert office.told == []


def test_every_outcome_is_told_with_codes_and_references_only(office, say) -> None:
    """Neither a customer's words nor a name nor an address (S5)."""
    created = say.created(number="12345", subject="my secret", body="my secret")
    office.hear(created, say.assigned(), say.resolved(summary="my secret"), say.paged())
    told = [(one.wire_type.split(".")[-2], one.key, json.loads(one.value)) for one in office.told]
    assert [(fact, key) for fact, key, _ in told] == [
        ("queued", "T-1"),
        ("queued", "T-1"),
        ("queued", "T-1"),
        ("queued", "SI-0A1B2C3D"),
        ("queued", "SI-0A1B2C3D"),
    ]
    assert {(data["template"], data["audience"]) for _, _, data in told} == {
        ("team_assigned", "team"),
        ("initial_response", "customer"),
        ("resolution", "customer"),
        ("page", "on_call"),
    }
    everything = " ".join(one.value.decode() for one in office.told)
    assert not [word for word in ("secret", "Ada", "example", "Moonbear", "12345", "crisis") if word in everything]


def test_the_edition_that_was_decided_on_is_told(office, desk, say) -> None:
    """HD-68: with every outcome; the language is shown behind a scope only (S5)."""
    office.hear(say.created(), say.assigned(), say.paged())
    told = [json.loads(one.value) for one in office.told]
    assert {data["edition"] for data in told} == {desk.templates.edition.version}
    assert not [data for data in told if "language" in data]


def test_a_held_message_is_told_with_the_names_of_its_facts(office, say) -> None:
    office.hear(say.created(), say.assigned("missing_attribution"), say.resolved())
    held = json.loads(office.told[-1].value)
    assert (held["missing"], held["reason_code"]) == (["attribution_added"], "missing_facts")
