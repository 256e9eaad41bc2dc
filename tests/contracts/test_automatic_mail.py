"""HD-35, HD-37, HD-63: what goes out by itself says so, and our own router takes it for a machine's when it comes back."""

from email import message_from_bytes
from email.policy import default

import pytest

from notifier.senders import Message
from notifier.senders.email import compose
from notifier.settings import mailbox
from router.domain.machine import is_machine_mail
from shared.runtime.now import machine_now

SENDER = mailbox("Storytailor Support <support@storytailor.example>")
MARKS = ("Auto-Submitted", "X-Auto-Response-Suppress", "Precedence")


def a_mail(*, to_customer: bool):
    message = Message(
        id="n-1",
        thread="t-1",
        recipient="ada@example.com",
        subject="Re: [Ticket #1] Login",
        body="Hi Ada,\n",
        written_at=machine_now(),
        to_customer=to_customer,
    )
    return message_from_bytes(compose(message, SENDER, None), policy=default)


@pytest.mark.parametrize("mark", MARKS)
def test_each_mark_by_itself_is_enough_for_our_router(mark: str) -> None:
    """Help desks hand on some headers and not others; a ticket made of our own mail is answered by nobody (HD-63)."""
    assert is_machine_mail({mark: a_mail(to_customer=True)[mark]})


def test_all_of_our_mails_are_marked_and_pages_are_not_filed_as_mass_mail() -> None:
    """RFC 3834; `Precedence` is for customers' mail programs, and may delay a page (S6)."""
    mail = a_mail(to_customer=False)
    assert (mail["Auto-Submitted"], mail["X-Auto-Response-Suppress"], mail["Precedence"]) == (
        "auto-generated",
        "All",
        None,
    )
