"""Slack and signed webhooks, against a real HTTP server on loopback that refuses, stalls, redirects and lies."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import httpcore2
import pytest
from http_room import HttpRoom, answer, http_room
from pydantic import SecretStr
from standardwebhooks import Webhook

from notifier.domain.retry import Outcome
from notifier.senders import Message
from notifier.senders.guarded_http import ForbiddenTarget, GuardedHttp, is_public
from notifier.senders.slack import SlackSender
from notifier.senders.webhook import WebhookSender
from shared.runtime.now import machine_now
from shared.testing.time import FakeNow

SOON, AT_ONCE = timedelta(seconds=5), timedelta(seconds=0.2)
OLD, NEW = (SecretStr("whsec_" + base64.b64encode(bytes([n]) * 24).decode()) for n in (1, 2))


@pytest.fixture
async def room() -> AsyncIterator[HttpRoom]:
    async with http_room() as one:
        yield one


@pytest.fixture
async def http() -> AsyncIterator[GuardedHttp]:
    one = GuardedHttp(machine_now, trusted_hosts={"127.0.0.1"})
    yield one
    await one.close()


def a_message(recipient: str, **fields: Any) -> Message:
    plain = {
        "id": "0f7c1f4e",
        "thread": "thread",
        "recipient": recipient,
        "subject": "[SI-0A1B2C3D] Action needed now",
        "body": "A safety incident needs you now.\n",
        "written_at": datetime(2026, 3, 3, 15, 0, tzinfo=UTC),
    }
    return Message(**(plain | fields))


# --- Slack ----------------------------------------------------------------------------------------------------------------


async def test_slack_is_asked_for_the_words_and_nothing_else(room: HttpRoom, http: GuardedHttp) -> None:
    """SN-29: mentions, links and previews are text like any other."""
    evil = "<!channel> <@U123> <https://evil.example|login> *bold* &amp;"
    result = await SlackSender(http).send(a_message(room.url, subject=evil, body=evil), within=SOON)
    assert (result.outcome, result.code) == (Outcome.ACCEPTED, "slack_ok")
    said = json.loads(room.asked[0].body)
    assert said["blocks"] == [
        {"type": "section", "text": {"type": "plain_text", "text": f"{evil}\n\n{evil}", "emoji": False}}
    ]
    assert "<" not in said["text"]
    assert (said["unfurl_links"], said["unfurl_media"], said["link_names"], said["mrkdwn"]) == (False,) * 4


@pytest.mark.parametrize(
    ("said", "outcome", "code"),
    [
        (answer(200, b'{"ok": true}'), Outcome.ACCEPTED, "slack_ok"),
        (answer(200, b'{"ok": false, "error": "channel_not_found"}'), Outcome.PERMANENT, "slack_not_ok"),
        (answer(200, b'{"ok": false, "error": "internal_error"}'), Outcome.TRANSIENT, "slack_not_ok"),
        (answer(200, b"<html>"), Outcome.TRANSIENT, "slack_unreadable"),
        (answer(200, b"[]"), Outcome.PERMANENT, "slack_not_ok"),
        (answer(404, b"no_service"), Outcome.PERMANENT, "slack_404"),
        (answer(500), Outcome.TRANSIENT, "slack_500"),
        (answer(302, location="http://127.0.0.1/"), Outcome.TRANSIENT, "slack_302"),
    ],
)
async def test_only_ok_is_a_yes(room: HttpRoom, http: GuardedHttp, said: bytes, outcome: Outcome, code: str) -> None:
    """SN-13: an answer of 200 may be a no."""
    room.answers = [said]
    result = await SlackSender(http).send(a_message(room.url), within=SOON)
    assert (result.outcome, result.code) == (outcome, code)


@pytest.mark.parametrize(
    ("header", "seconds"), [("30", 30), ("Tue, 03 Mar 2026 15:01:00 GMT", 60), ("soon", None), ("9" * 30, None)]
)
async def test_what_retry_after_asks_for_is_passed_on(room: HttpRoom, header: str, seconds: int | None) -> None:
    """SN-12: in seconds or as a date."""
    room.answers = [answer(429, retry_after=header)]
    http = GuardedHttp(lambda: datetime(2026, 3, 3, 15, 0, tzinfo=UTC), trusted_hosts={"127.0.0.1"})
    result = await SlackSender(http).send(a_message(room.url), within=SOON)
    await http.close()
    assert (result.outcome, result.code) == (Outcome.TRANSIENT, "slack_429")
    assert result.retry_after == (timedelta(seconds=seconds) if seconds else None)


# --- signed webhooks ------------------------------------------------------------------------------------------------------


async def test_a_webhook_verifies_with_the_old_and_the_new_secret(room: HttpRoom, http: GuardedHttp) -> None:
    """SN-52: while a secret is replaced, a receiver with either of them verifies; what is signed is what is sent."""
    sender = WebhookSender(http, [NEW, OLD], machine_now)
    assert (await sender.send(a_message(room.url), within=SOON)).outcome is Outcome.ACCEPTED
    asked = room.asked[0]
    for secret in (OLD, NEW):
        verified = Webhook(secret.get_secret_value()).verify(asked.body.decode(), asked.headers)
        assert verified["data"]["notification_id"] == "0f7c1f4e"


async def test_the_id_is_the_same_on_every_try(room: HttpRoom, http: GuardedHttp) -> None:
    """The receiver can tell a repetition (invariant 26)."""
    room.answers = [answer(503), answer(200)]
    sender = WebhookSender(http, [NEW], machine_now)
    assert [(await sender.send(a_message(room.url), within=SOON)).code for _ in range(2)] == [
        "webhook_503",
        "webhook_200",
    ]
    assert [asked.headers["webhook-id"] for asked in room.asked] == ["0f7c1f4e"] * 2
    assert room.asked[0].body == room.asked[1].body


async def test_a_webhook_says_ids_and_a_constant(room: HttpRoom, http: GuardedHttp) -> None:
    """Thin: whoever wants more reads it where reading is checked (S5)."""
    await WebhookSender(http, [NEW], machine_now).send(a_message(room.url, body="secret words"), within=SOON)
    assert json.loads(room.asked[0].body) == {
        "type": "notification",
        "timestamp": "2026-03-03T15:00:00.000000Z",
        "data": {"notification_id": "0f7c1f4e", "thread": "thread", "text": "[SI-0A1B2C3D] Action needed now"},
    }


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        (answer(410), Outcome.PERMANENT),
        (answer(400), Outcome.TRANSIENT),
        (answer(502), Outcome.TRANSIENT),
        (answer(307, location="http://127.0.0.1/inside"), Outcome.TRANSIENT),
    ],
)
async def test_only_gone_is_final_and_redirects_are_not_followed(
    room: HttpRoom, http: GuardedHttp, said: bytes, outcome: Outcome
) -> None:
    """SN-51."""
    room.answers = [said]
    assert (await WebhookSender(http, [NEW], machine_now).send(a_message(room.url), within=SOON)).outcome is outcome
    assert len(room.asked) == 1


# --- the line -------------------------------------------------------------------------------------------------------------


async def test_no_answer_after_the_request_left_is_ambiguous(room: HttpRoom, http: GuardedHttp) -> None:
    """SN-58: a call that hangs is cut at its deadline."""
    room.answers = [None]
    assert (await SlackSender(http).send(a_message(room.url), within=AT_ONCE)).outcome is Outcome.AMBIGUOUS
    room.drops_line = True
    assert (await SlackSender(http).send(a_message(room.url), within=SOON)).outcome is Outcome.AMBIGUOUS


async def test_nobody_listening_is_transient(http: GuardedHttp) -> None:
    result = await SlackSender(http).send(a_message("http://127.0.0.1:1/"), within=SOON)
    assert (result.outcome, result.code) == (Outcome.TRANSIENT, "slack_unanswered")


async def test_only_a_beginning_of_an_endless_answer_is_read(room: HttpRoom, http: GuardedHttp) -> None:
    room.answers = [answer(500, b"x" * 1_000_000)]
    answered = await http.post(room.url, b"{}", (), within=SOON)
    assert (answered.status, len(answered.body)) == (500, 64 * 1024)


async def test_an_address_that_answers_nobody_does_not_stand_for_the_others(
    room: HttpRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name with an IPv6 address on a machine that has no way there is reached by its other one."""
    port = urlsplit(room.url).port

    async def resolve(*_: object, **__: object) -> list[tuple[object, ...]]:
        return [(10, 1, 6, "", ("2001:db8::1", port, 0, 0)), (2, 1, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    http = GuardedHttp(FakeNow(), trusted_hosts={"two.example"})
    answer = await http.post(f"http://two.example:{port}/", b"{}", (), within=SOON)
    assert answer.status == 200
    await http.close()


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/", "ftp://127.0.0.1/", "https://127.0.0.2/", "https://[::1]/", "https://[::127.0.0.1]/",
        "https://[", "https://example.com:99999999/", "https://a..b/", "https://example.com:6379/",
    ],
)  # fmt: skip
async def test_private_addresses_and_plain_http_are_refused_before_anything_is_sent(
    url: str, http: GuardedHttp
) -> None:
    """SN-51: only hosts that a setting trusts may be private or without TLS."""
    with pytest.raises(ForbiddenTarget):
        await http.post(url, b"{}", (), within=SOON)


async def test_the_connection_goes_to_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """SN-51: a name that is public when it is looked up and loopback a moment later reaches nothing inside."""
    connected: list[str] = []

    async def connect(_self: object, host: str, *_: object) -> httpcore2.AsyncNetworkStream:
        connected.append(host)
        raise httpcore2.ConnectError

    answers = iter(["93.184.216.34", "127.0.0.1"])

    async def resolve(*_: object, **__: object) -> list[tuple[object, ...]]:
        return [(2, 1, 6, "", (next(answers), 443))]

    monkeypatch.setattr(httpcore2.AnyIOBackend, "connect_tcp", connect)
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    http = GuardedHttp(FakeNow())
    result = await SlackSender(http).send(a_message("https://rebinding.example/"), within=SOON)
    assert (result.outcome, connected) == (Outcome.TRANSIENT, ["93.184.216.34"])
    result = await SlackSender(http).send(a_message("https://rebinding.example/"), within=SOON)
    assert (result.code, connected) == ("slack_forbidden", ["93.184.216.34"])
    await http.close()


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "240.0.0.1", "::1", "fe80::1%1",
        "fd00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::",
        "2001:0:7f00:1::f5ff:fffe", "::127.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b:1::7f00:1", "fec0::1",
    ],
)  # fmt: skip
def test_addresses_inside_are_known_also_when_wrapped(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "64:ff9b::5db8:d822"])
def test_addresses_of_the_wide_world_are_public(address: str) -> None:
    assert is_public(address)
