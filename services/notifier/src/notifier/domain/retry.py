"""When a delivery is tried again, and when it is given up.

A page is tried until it is acknowledged or a newer one stands for it (S4): a duplicate costs a glance, a loss a child. A
customer gets a text at most once: where nobody can know whether it arrived, a person decides. Staff mails are like pages,
but patient, and programs are given days.
"""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from notifier.domain.notification import GO, Audience, Channel, Notification, Reason, State, Verdict

PAGE_PAUSES = (1, 2, 4, 8, 15)
"""Seconds between tries of a page; the last one repeats without end."""
MAIL_PAUSES = (5, 30, 120, 600, 1800, 3600, 7200, 14_400, 28_800, 28_800)
"""Seconds between tries of any other mail: about a day, then it has failed."""
WEBHOOK_PAUSES = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Seconds between tries of a webhook that is no page: a program may be away over a weekend."""
JITTER = 0.2
FAIL_OVER_WITHIN = timedelta(seconds=5)
"""A page that has reached nobody for so long is told by another way or to another person (invariant 27)."""
LEASE_MARGIN = timedelta(seconds=10)
"""How long after its deadline a try without a result is taken for one whose process has died."""


class Outcome(StrEnum):
    """What is known of one try."""

    ACCEPTED = "accepted"
    TRANSIENT = "transient"
    """It was certainly not delivered and may be later."""
    PERMANENT = "permanent"
    """It was certainly not delivered and never will be."""
    AMBIGUOUS = "ambiguous"
    """Nobody knows: the line was lost after the text was sent and before the answer came."""
    DEFERRED = "deferred"
    """It was not tried: its destination has to be spared for a while."""


@dataclass(frozen=True, slots=True)
class SendResult:
    """The outcome of one try and its code, for example `smtp_451`; never the server's words."""

    outcome: Outcome
    code: str
    retry_after: timedelta | None = None
    """How long the other side asked to be left alone."""
    of_message: bool = False
    """The answer is about this message or mailbox alone: the destination itself is well."""
    is_gone: bool = False
    """The destination says that nothing will ever be taken there again."""


LOST = SendResult(Outcome.AMBIGUOUS, "process_lost")
"""A try whose process died before it could write down what became of it."""


def send_within(notification: Notification) -> timedelta:
    """The deadline of one try."""
    return timedelta(seconds=5 if notification.is_urgent else 15)


def begun(notification: Notification, now: datetime) -> Notification:
    """Under way: another try is looked for only when this one must have died."""
    return replace(
        notification,
        state=State.SENDING,
        attempts=notification.attempts + 1,
        is_begun=True,
        next_look_at=now + send_within(notification) + LEASE_MARGIN,
    )


def ended(notification: Notification, result: SendResult, now: datetime) -> Notification:
    """After a try with this result. One that was overtaken meanwhile stays so, unless it did go out.

    A destination that asks to be left alone is left alone, however urgent the message: other channels do not wait (SN-12).
    """
    if result.outcome is Outcome.ACCEPTED:
        return replace(notification.under(Verdict(State.SENT), now), sent_at=now)
    if notification.state is not State.SENDING:
        return notification
    asked = result.retry_after or timedelta(0)
    if result.outcome is Outcome.DEFERRED:
        waiting = replace(notification, attempts=notification.attempts - 1).under(GO, now)
        return replace(waiting, reason=notification.reason, next_look_at=now + asked)
    if result.outcome is Outcome.PERMANENT:
        return notification.under(Verdict(State.FAILED, result.code), now)
    if result.outcome is Outcome.AMBIGUOUS:
        notification = replace(notification, is_doubtful=True)
        if notification.intent.audience is Audience.CUSTOMER:
            return notification.under(Verdict(State.HELD, Reason.AMBIGUOUS), now)
    pause = pause_after(notification)
    if pause is None:
        return notification.under(Verdict(State.FAILED, result.code), now)
    return replace(notification.under(GO, now), reason=result.code, next_look_at=now + max(pause, asked))


def pause_after(notification: Notification) -> timedelta | None:
    """How long to wait after the tries so far; None when there has been enough of them."""
    tries = notification.attempts - 1
    spread = _spread(f"{notification.id}|{tries}")
    if notification.is_urgent:
        longest = PAGE_PAUSES[min(tries, len(PAGE_PAUSES) - 1)]
        return timedelta(
            seconds=longest * (1 - JITTER * spread)
        )  # never longer: whoever is back is used at once (SN-14)
    pauses = WEBHOOK_PAUSES if notification.intent.channel is Channel.WEBHOOK else MAIL_PAUSES
    if tries >= len(pauses):
        return None
    return timedelta(seconds=pauses[tries] * (1 - JITTER + 2 * JITTER * spread))


def has_reached_nobody(notification: Notification, result: SendResult, now: datetime) -> bool:
    """Whether a page is to be told by another way or to another person after this try (invariant 27)."""
    if not notification.is_urgent or result.outcome is Outcome.ACCEPTED:
        return False
    if result.outcome is not Outcome.DEFERRED:
        return True
    return now + (result.retry_after or timedelta(0)) - notification.created_at >= FAIL_OVER_WITHIN


def may_reach(notification: Notification, now: datetime) -> bool:
    """Whether a page has reached its recipient, is said by another, or has its first try before it."""
    if notification.state in (State.SENT, State.SUPERSEDED) or notification.rolled_up_in is not None:
        return True
    if notification.state is State.SENDING:
        return notification.attempts <= 1 and not notification.others_asked
    due_at = notification.next_look_at
    is_due = due_at is not None and due_at <= now
    return (
        notification.state is State.QUEUED and notification.attempts == 0 and is_due and not notification.others_asked
    )


def _spread(seed: str) -> float:
    """0 to 1, the same for the same try: replicas do not march in step, and a test can say when."""
    return int.from_bytes(hashlib.blake2b(seed.encode(), digest_size=4).digest()) / 0xFFFFFFFF
