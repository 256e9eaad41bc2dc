"""When a delivery is tried again, and when it is given up (S4, T3)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from notifier.domain.notification import GO, Audience, Channel, Intent, Notification, Reason, Template
from notifier.domain.retry import (
    LOST,
    MAIL_PAUSES,
    Outcome,
    SendResult,
    begun,
    ended,
    has_reached_nobody,
    pause_after,
    send_within,
)

AT = datetime(2026, 3, 3, 15, 0, tzinfo=UTC)
ACCEPTED = SendResult(Outcome.ACCEPTED, "smtp_250")
REFUSED = SendResult(Outcome.PERMANENT, "smtp_550")
BUSY = SendResult(Outcome.TRANSIENT, "smtp_451")
UNKNOWN = SendResult(Outcome.AMBIGUOUS, "smtp_disconnected")


def a_notification(audience: Audience, number: int = 1) -> Notification:
    intent = Intent(identity=("x",), audience=audience, recipient="r", template=Template.PAGE, clauses=())
    return Notification.of(f"n-{number}", intent, GO, AT)


@pytest.mark.parametrize("audience", Audience)
def test_accepted_is_sent_and_refused_has_failed(audience: Audience) -> None:
    trying = begun(a_notification(audience), AT)
    assert ended(trying, ACCEPTED, AT).state == "sent"
    failed = ended(trying, REFUSED, AT)
    assert (failed.state, failed.reason, failed.next_look_at) == ("failed", "smtp_550", None)


@pytest.mark.parametrize("result", [UNKNOWN, LOST])
def test_what_may_have_arrived_is_repeated_to_staff_and_held_for_customers(result: SendResult) -> None:
    """A page twice costs a glance; whether a customer gets a text twice is for a person to say (SN-11)."""
    after = {audience: ended(begun(a_notification(audience), AT), result, AT) for audience in Audience}
    assert {audience: one.state for audience, one in after.items()} == {
        Audience.CUSTOMER: "held",
        Audience.TEAM: "queued",
        Audience.LEAD: "queued",
        Audience.ON_CALL: "queued",
    }
    assert after[Audience.CUSTOMER].reason == Reason.AMBIGUOUS


def test_of_what_failed_after_a_try_that_left_it_open_somebody_may_know() -> None:
    """What it said is taken back like what was sent (L13); of what was only ever refused nobody knows."""
    mail = a_notification(Audience.TEAM)
    refused, doubtful = (ended(begun(ended(begun(mail, AT), first, AT), AT), REFUSED, AT) for first in (BUSY, UNKNOWN))
    assert {(one.state.value, one.may_have_arrived) for one in (refused, doubtful)} == {
        ("failed", False),
        ("failed", True),
    }


def test_a_page_is_tried_after_1_2_4_8_15_15_seconds_without_end() -> None:
    """Each up to 20 % earlier, so that replicas do not march in step, and never later: SN-14 leaves 15 seconds (S4)."""
    page = a_notification(Audience.ON_CALL)
    for expected in (1, 2, 4, 8, 15, 15, *[15] * 50):
        page = ended(begun(page, AT), BUSY, AT)
        assert page.state == "queued"
        assert expected * 0.8 <= (page.next_look_at - AT).total_seconds() <= expected


def test_other_mail_has_failed_after_about_a_day() -> None:
    mail = a_notification(Audience.CUSTOMER)
    tries, waited = 0, timedelta()
    while mail.state == "queued":
        mail = ended(begun(mail, AT), BUSY, AT)
        tries += 1
        waited += (mail.next_look_at - AT) if mail.next_look_at else timedelta()
    assert (mail.state, mail.reason, tries) == ("failed", "smtp_451", len(MAIL_PAUSES) + 1)
    assert timedelta(hours=19) < waited < timedelta(hours=29)


def test_a_webhook_that_is_no_page_has_failed_after_some_days() -> None:
    """A program may be away over a weekend; it is asked ten times in all."""
    hook = a_notification(Audience.TEAM)
    hook = replace(hook, intent=replace(hook.intent, channel=Channel.WEBHOOK))
    tries, waited = 0, timedelta()
    while hook.state == "queued":
        hook = ended(begun(hook, AT), BUSY, AT)
        tries += 1
        waited += (hook.next_look_at - AT) if hook.next_look_at else timedelta()
    assert (hook.state, tries) == ("failed", 10)
    assert timedelta(days=2.5) < waited < timedelta(days=4)


def test_a_page_that_has_not_reached_anybody_is_told_to_somebody_else_within_five_seconds() -> None:
    """Invariant 27: whatever the trouble; one that only waits its turn for a moment is not in trouble."""
    page = begun(a_notification(Audience.ON_CALL), AT)
    assert [has_reached_nobody(page, result, AT) for result in (REFUSED, BUSY, UNKNOWN, LOST)] == [True] * 4
    assert not has_reached_nobody(page, ACCEPTED, AT)
    for seconds, is_told in ((1, False), (4.9, False), (5, True), (30, True)):
        deferred = SendResult(Outcome.DEFERRED, "x", timedelta(seconds=seconds))
        assert has_reached_nobody(page, deferred, AT) is is_told
    assert not has_reached_nobody(begun(a_notification(Audience.TEAM), AT), REFUSED, AT)


def test_the_jitter_of_a_try_is_always_the_same_and_another_for_each_notification() -> None:
    pauses = [pause_after(begun(a_notification(Audience.ON_CALL, number), AT)) for number in range(50)]
    assert pauses == [pause_after(begun(a_notification(Audience.ON_CALL, number), AT)) for number in range(50)]
    assert len(set(pauses)) == 50


def test_a_try_without_result_is_looked_at_only_after_its_deadline() -> None:
    for audience in Audience:
        one = begun(a_notification(audience), AT)
        assert one.next_look_at > AT + send_within(one)


def test_what_was_overtaken_while_it_was_being_sent_stays_so_unless_it_went_out() -> None:
    overtaken = begun(a_notification(Audience.ON_CALL), AT).superseded(Reason.ACKNOWLEDGED)
    assert ended(overtaken, BUSY, AT) == overtaken
    assert ended(overtaken, ACCEPTED, AT).state == "sent"


def test_a_destination_that_asks_for_time_gets_it() -> None:
    """SN-12: the longer of our own pause and what `Retry-After` says."""
    page = begun(a_notification(Audience.ON_CALL), AT)
    asked = ended(page, SendResult(Outcome.TRANSIENT, "slack_429", timedelta(seconds=30)), AT)
    assert (asked.state, asked.reason, asked.next_look_at) == ("queued", "slack_429", AT + timedelta(seconds=30))


def test_what_was_not_tried_is_no_try() -> None:
    """A message that waits for its turn at a destination loses none of its tries."""
    waiting = ended(
        begun(a_notification(Audience.TEAM), AT), SendResult(Outcome.DEFERRED, "x", timedelta(seconds=1)), AT
    )
    assert (waiting.state, waiting.attempts, waiting.reason) == ("queued", 0, None)
    assert waiting.next_look_at == AT + timedelta(seconds=1)
