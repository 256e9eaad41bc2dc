"""Two business days after the text of a resolution has gone out, its customer is asked whether the matter is solved (T5).

The office of the policy is in New York; the resolution of these tests goes out on a Tuesday at 10:00 there.
"""

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest
from notifier_replica import Replica

from notifier import handlers
from notifier.domain.hours import Hours
from notifier.domain.retry import Outcome, SendResult
from shared.policy.draft import drafted
from shared.policy.model import Policy

BUSY = SendResult(Outcome.TRANSIENT, "smtp_451")
THURSDAY_10H = datetime(2026, 3, 5, 15, tzinfo=UTC)
CLAIMS = {"attribution_added": True, "attribution_removed": True, "detection_reviewed": True}


def changed(policy: Policy, **parts: Any) -> Policy:
    return drafted(policy.model_dump_json(), parts)


async def resolve(replica: Replica, say: Any, subcategory: str = "login", **data: Any) -> None:
    """A ticket is created, routed and resolved, and its customer told."""
    await replica.hear(say.created(**data), say.assigned(subcategory), say.resolved(facts=CLAIMS))
    await replica.deliver()


async def follow_ups(replica: Replica) -> list[str]:
    """What became of each follow-up."""
    rows = await replica.rows(
        "select state from notification where convert_from(document, 'utf8')::json #>> '{intent,template}' = 'follow_up' "
        "order by created_at, id"
    )
    return [row["state"] for row in rows]


@pytest.mark.parametrize("subcategory", ["login", "missing_attribution", "false_positive", "user_question"])
async def test_two_business_days_later_the_customer_is_asked(replica, now, say, subcategory: str) -> None:
    """(T5) Also where a text about IP stands for the resolution."""
    await resolve(replica, say, subcategory, number="12345")
    now.set(THURSDAY_10H.replace(hour=14, minute=59))
    await replica.deliver()
    assert await follow_ups(replica) == ["queued"]
    now.set(THURSDAY_10H)
    await replica.deliver()
    assert await follow_ups(replica) == ["sent"]
    mail = replica.post.given[-1]
    assert (mail.recipient, mail.subject) == ("ada@example.com", "Re: [Ticket #12345] Did we solve it for you?")
    assert "a number from 1 (not good) to 5 (very good)" in mail.body
    now.advance(days=30)
    await replica.deliver()
    assert await follow_ups(replica) == ["sent"]


async def test_business_days_begin_at_the_next_opening(replica, now, say) -> None:
    """Sent on Friday at 18:00 in New York, asked on Tuesday at 17:00: the clocks are put forward between (T5, L3)."""
    now.set(datetime(2026, 3, 6, 23, tzinfo=UTC))
    await resolve(replica, say)
    assert await replica.value("select next_look_at from notification where next_look_at is not null") == datetime(
        2026, 3, 10, 21, tzinfo=UTC
    )


async def test_a_claim_and_what_was_not_sent_are_not_asked_about(replica, say) -> None:
    """A rights holder's matter is with legal (T4); a text that is held has told nobody anything (T5)."""
    await replica.hear(say.created(), say.assigned("rights_holder_claim", team="legal", level=3))
    await replica.hear(say.resolved(facts=CLAIMS))
    await replica.hear(say.created("T-2"), say.assigned("missing_attribution", "T-2"), say.resolved("T-2"))
    await replica.deliver()
    assert (await replica.states())["rights_holder_claim"] == "sent"
    assert (await replica.states("T-2"))["missing_attribution"] == "held"
    assert await follow_ups(replica) == []


@pytest.mark.parametrize("event", ["reopened", "wrote", "closed"])
async def test_reopening_and_closing_cancel_it(replica, now, say, event: str) -> None:
    """(T5) A customer's message reopens (L12)."""
    await resolve(replica, say)
    await replica.hear(getattr(say, event)())
    assert await follow_ups(replica) == ["superseded"]
    now.set(THURSDAY_10H)
    sent = len(replica.post.given)
    await replica.deliver()
    assert len(replica.post.given) == sent


async def test_an_answer_of_a_machine_or_an_agent_cancels_nothing(replica, say) -> None:
    """HD-37: an out-of-office reply to the resolution is no customer's word."""
    await resolve(replica, say)
    await replica.hear(say.wrote(automated=True), say.wrote("agent"))
    assert await follow_ups(replica) == ["queued"]


async def test_a_newer_resolution_is_asked_about_in_its_place(replica, now, say) -> None:
    """Once, two business days after its own text (T5)."""
    await resolve(replica, say)
    now.advance(hours=24)
    await replica.hear(say.reopened(), say.resolved(at=now()))
    await replica.deliver()
    assert await follow_ups(replica) == ["superseded", "queued"]
    now.set(THURSDAY_10H)
    await replica.deliver()
    assert await follow_ups(replica) == ["superseded", "queued"]
    now.advance(hours=24)
    await replica.deliver()
    assert await follow_ups(replica) == ["superseded", "sent"]


async def test_what_is_known_to_be_sent_only_after_the_reopening_is_not_asked_about(replica, say) -> None:
    """The mail was under way when the ticket was reopened (T5)."""
    await replica.hear(say.created(), say.assigned("login"), say.resolved())
    await replica.begin()
    await replica.hear(say.reopened())
    await replica.deliver()
    assert (await replica.states())["resolution"] == "sent"
    assert await follow_ups(replica) == []


@pytest.mark.parametrize("becomes", ["restricted", "privacy_concern"])
async def test_a_ticket_that_becomes_one_of_safety_is_not_asked_about(replica, now, say, becomes: str) -> None:
    """Nothing of it waits for a release either: never means never (T3, T5, S9)."""
    await resolve(replica, say)
    if becomes == "restricted":
        await replica.hear(say.restricted())
    else:
        await replica.hear(say.assigned(becomes, decision_id="d-2", replaces="d-1", team="safety"))
    now.set(THURSDAY_10H)
    sent = [message.recipient for message in replica.post.given]
    await replica.deliver()
    assert await follow_ups(replica) == ["superseded"]
    assert [message.recipient for message in replica.post.given].count("ada@example.com") == sent.count(
        "ada@example.com"
    )


async def test_a_resolution_of_a_safety_ticket_that_a_person_has_released_is_not_asked_about(replica, say) -> None:
    """(T3, T5)"""
    await replica.hear(say.created(), say.assigned("privacy_concern", team="safety"), say.resolved())
    async with replica.units.begin() as unit:
        await unit.notifications.read_of_tickets(unit.connection, ["T-1"])
        await unit.tickets.read(unit.connection, ["T-1"])
        (text,) = [one for one in unit.notifications.of("T-1") if one.intent.template == "resolution"]
        handlers.release(text, "sam", unit)
    await replica.deliver()
    assert (await replica.states())["resolution"] == "sent"
    assert await follow_ups(replica) == []


async def test_the_policy_says_whether_and_when(database, desk, now, say) -> None:
    """(T5)"""
    off = changed(desk.policy, notices={"follow_up": {"enabled": False}})
    silent = Replica(database, dataclasses.replace(desk, policy=off), now)
    await resolve(silent, say)
    assert await follow_ups(silent) == []
    later = changed(desk.policy, notices={"follow_up": {"after_business_days": 5}})
    patient = Replica(database, dataclasses.replace(desk, policy=later), now)
    await patient.hear(say.created("T-2"), say.assigned("login", "T-2"), say.resolved("T-2"))
    await patient.deliver()
    assert await patient.value("select next_look_at from notification where next_look_at is not null") == datetime(
        2026, 3, 10, 14, tzinfo=UTC
    )


async def test_a_follow_up_keeps_the_notify_hours(database, desk, now, say) -> None:
    """T6: an office that is open all day asks at the next notify hour, and a second try waits for it as well."""
    weekdays = {key: ["00:00-24:00"] for key in ("monday", "tuesday", "wednesday", "thursday", "friday")}
    all_day = {"opening_hours": weekdays, "nominal_day_minutes": 1440}
    policy = changed(desk.policy, clocks={"calendar": all_day})
    busy = Replica(database, dataclasses.replace(desk, policy=policy, hours=Hours.of(policy)), now)
    now.advance(hours=9)  # 19:00 in New York
    await resolve(busy, say)
    now.advance(hours=48)
    await busy.deliver()
    assert await follow_ups(busy) == ["queued"]
    now.set(datetime(2026, 3, 6, 13, tzinfo=UTC))  # Friday, 08:00
    busy.post.answers = [BUSY] * 8
    for _ in range(8):
        await busy.deliver()
        now.set(await busy.value("select next_look_at from notification where next_look_at is not null"))
    assert now() > datetime(2026, 3, 6, 18, tzinfo=UTC)
    now.set(datetime(2026, 3, 7, 3, tzinfo=UTC))
    await busy.deliver()
    assert await busy.value("select next_look_at from notification where next_look_at is not null") == datetime(
        2026, 3, 9, 12, tzinfo=UTC
    )


async def test_a_follow_up_that_may_have_arrived_is_held(replica, now, say) -> None:
    """Customers get a text at most once."""
    await resolve(replica, say)
    now.set(THURSDAY_10H)
    replica.post.answers = [SendResult(Outcome.AMBIGUOUS, "smtp_disconnected")]
    await replica.deliver()
    assert await follow_ups(replica) == ["held"]
