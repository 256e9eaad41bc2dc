"""What goes out by itself to one requester is bounded, so that two machines do not write to each other for ever (HD-63)."""

from typing import Any

from notifier import handlers
from notifier.domain.notification import Template
from notifier.domain.retry import Outcome, SendResult

CUT = "Automatic messages were stopped"


async def ask(replica: Any, say: Any, count: int, *, first: int = 0, email: str = "loop@example.com") -> None:
    """So many tickets of one requester come in and are answered."""
    for number in range(first, first + count):
        ticket_id = f"T-{number}"
        requester = {"id": f"u-{number}", "email": email}
        await replica.hear(say.created(ticket_id, requester=requester), say.assigned("login", ticket_id))
        await replica.deliver()


def answers(replica: Any, email: str = "loop@example.com") -> int:
    return sum(message.recipient == email for message in replica.post.given)


def reports(replica: Any) -> list[Any]:
    return [message for message in replica.post.given if CUT in message.subject]


async def test_a_loop_is_cut_and_reported_once(replica, desk, now, say) -> None:
    """HD-63: bounce, ticket, answer, bounce: at most the policy's number to one address within its window, however written."""
    most = desk.policy.notices.automatic.messages
    await ask(replica, say, most)
    await ask(replica, say, 5, first=most, email="LOOP@example.com")
    await replica.deliver()
    assert (answers(replica), answers(replica, "LOOP@example.com")) == (most, 0)
    (report,) = reports(replica)
    assert report.recipient == "customer_service@staff.example"
    assert report.subject == f"[Ticket #T-{most}] {CUT}"
    rows = await replica.rows("select id from notification where state = 'suppressed' and reason = 'too_many'")
    assert len(rows) == 5
    assert (await replica.told()).count("suppressed") == 5
    await ask(replica, say, 1, first=50, email="ada@example.com")
    assert answers(replica, "ada@example.com") == 1


async def test_after_a_quiet_while_the_requester_is_answered_again(replica, desk, now, say) -> None:
    """HD-63: and a second loop is cut and reported like the first."""
    rule = desk.policy.notices.automatic
    await ask(replica, say, rule.messages + 1)
    now.advance(minutes=rule.within_minutes - 1)
    await ask(replica, say, 1, first=60)
    assert answers(replica) == rule.messages
    now.advance(minutes=1)
    await ask(replica, say, rule.messages + 1, first=100)
    await replica.deliver()
    assert answers(replica) == 2 * rule.messages
    assert len(reports(replica)) == 2


async def test_what_a_person_lets_go_is_not_counted(replica, desk, say) -> None:
    """HD-63: only what goes out by itself can be in a loop."""
    most = desk.policy.notices.automatic.messages
    await ask(replica, say, most + 1)
    async with replica.units.begin() as unit:
        await unit.notifications.read_of_tickets(unit.connection, [f"T-{most}"])
        await unit.tickets.read(unit.connection, [f"T-{most}"])
        (cut,) = (one for one in unit.notifications.of(f"T-{most}") if one.intent.template is Template.INITIAL_RESPONSE)
        handlers.resend(cut, "k", "robin", unit)
    await replica.deliver()
    assert answers(replica) == most + 1


async def test_retries_and_other_replicas_are_counted_once(replica, desk, say) -> None:
    """A second delivery of the same events is no second message (HD-63)."""
    most = desk.policy.notices.automatic.messages
    for _ in range(2):
        await ask(replica, say, most)
    assert answers(replica) == most
    assert reports(replica) == []


async def test_what_waits_for_a_spared_destination_is_counted_once(replica, desk, say) -> None:
    """A message that was not tried yet is one message, however often it had to come back (HD-63, SN-12)."""
    spared = [SendResult(Outcome.DEFERRED, "destination_busy")] * (desk.policy.notices.automatic.messages + 1)
    replica.post.answers_to["loop@example.com"] = spared
    await ask(replica, say, 1)
    for _ in range(len(spared) + 2):
        await replica.deliver()
    assert (await replica.states("T-0"))["initial_response"] == "sent"
    assert reports(replica) == []
