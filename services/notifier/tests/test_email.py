"""E-mail, against a real SMTP server on loopback that accepts, refuses, stalls and drops the line."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.headerregistry import Address
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from notifier.domain.retry import Outcome
from notifier.domain.templates import in_subject
from notifier.senders import Message
from notifier.senders.email import EmailSender, compose
from notifier.settings import SmtpServer

SENDER = Address("Storytailor Support", addr_spec="support@storytailor.example")
REPLY_TO = Address(addr_spec="reply@storytailor.example")
SOON = timedelta(seconds=60)


@pytest.fixture
async def sender(room, smtp_port: int) -> AsyncIterator[EmailSender]:
    one = EmailSender(SmtpServer("127.0.0.1", smtp_port), SENDER, REPLY_TO, connections=4)
    yield one
    await one.close()


def a_message(**fields: Any) -> Message:
    plain = {
        "id": "0f7c1f4e",
        "thread": "ticket-thread",
        "recipient": "ada@example.com",
        "subject": "Re: [Ticket #1] Grüße",
        "body": "Hi Ada,\n\n.a line that begins with a dot\nGrüße 👩‍👧\n",
        "written_at": datetime(2026, 3, 3, 15, 0, tzinfo=UTC),
    }
    return Message(**(plain | fields))


async def test_a_mail_arrives_as_it_was_written(room, sender: EmailSender) -> None:
    result = await sender.send(a_message(), within=SOON)
    assert (result.outcome, result.code) == (Outcome.ACCEPTED, "smtp_250")
    (envelope,) = room.taken
    mail = message_from_bytes(envelope.content, policy=default)
    assert (envelope.mail_from, envelope.rcpt_tos) == ("support@storytailor.example", ["ada@example.com"])
    assert mail.get_content().replace("\r\n", "\n") == a_message().body
    assert dict(mail.items()) | {"MIME-Version": "1.0"} == {
        "From": "Storytailor Support <support@storytailor.example>",
        "To": "ada@example.com",
        "Reply-To": "reply@storytailor.example",
        "Subject": "Re: [Ticket #1] Grüße",
        "Date": "Tue, 03 Mar 2026 15:00:00 +0000",
        "Message-ID": "<0f7c1f4e@storytailor.example>",
        "In-Reply-To": "<ticket-thread@storytailor.example>",
        "References": "<ticket-thread@storytailor.example>",
        "Auto-Submitted": "auto-generated",
        "X-Auto-Response-Suppress": "All",
        "Content-Type": 'text/plain; charset="utf-8"',
        "Content-Transfer-Encoding": "quoted-printable",
        "MIME-Version": "1.0",
    }


HTML = '<!doctype html>\n<html lang="de"><body><p>Hi Ada,</p><p>Grüße 👩‍👧 --=_ .\n.\n</p></body></html>\n'


async def test_a_mail_with_html_has_both_parts_and_the_plain_one_first(room, sender: EmailSender) -> None:
    """A program shows the last part it can; nothing is fetched and nothing is attached."""
    await sender.send(a_message(html=HTML, language="de"), within=SOON)
    (envelope,) = room.taken
    mail = message_from_bytes(envelope.content, policy=default)
    assert (mail.get_content_type(), mail["Content-Language"]) == ("multipart/alternative", "de")
    plain, page = mail.iter_parts()
    assert plain.get_content_type() == "text/plain"
    assert plain.get_content().replace("\r\n", "\n") == a_message().body
    assert page.get_content_type() == "text/html"
    assert page.get_content().replace("\r\n", "\n") == HTML
    assert list(mail.iter_attachments()) == []
    assert max(map(len, envelope.content.splitlines())) <= 998


async def test_the_mails_of_a_ticket_hold_together_and_are_no_answer_to_machines(room, sender: EmailSender) -> None:
    """Each has its own Message-ID, all name the same thread, and say that nobody wrote them (4.8)."""
    for name in ("a", "b"):
        await sender.send(a_message(id=name, html=HTML), within=SOON)
    await sender.send(a_message(id="c", thread="another", html=HTML), within=SOON)
    mails = [message_from_bytes(envelope.content, policy=default) for envelope in room.taken]
    assert len({mail["Message-ID"] for mail in mails}) == 3
    assert [mail["References"] for mail in mails] == [mail["In-Reply-To"] for mail in mails]
    assert mails[0]["References"] == mails[1]["References"] != mails[2]["References"]
    assert {mail["Auto-Submitted"] for mail in mails} == {"auto-generated"}
    assert {mail["Reply-To"] for mail in mails} == {"reply@storytailor.example"}


@pytest.mark.parametrize(
    "value", ["\r\nBcc: evil@x.example\r\n\r\n", "--{boundary}--\r\n", "\r\n--{boundary}\r\nX: y\r\n\r\n"]
)
def test_no_value_in_a_part_ends_it(value: str) -> None:
    """Not even one that knows what parts the mail (28)."""
    written = compose(a_message(html=HTML), SENDER, REPLY_TO)
    value = value.format(boundary=message_from_bytes(written, policy=default).get_boundary())
    attacked = compose(a_message(body=f"Hi {value}\n", html=HTML.replace("Hi", value)), SENDER, REPLY_TO)
    mail = message_from_bytes(attacked, policy=default)
    assert [part.get_content_type() for part in mail.walk()] == ["multipart/alternative", "text/plain", "text/html"]
    assert mail["Bcc"] is None


@pytest.mark.parametrize("length", range(60, 90))
def test_a_plain_subject_is_never_broken_after_its_colon(length: int) -> None:
    """Some readers would show it with a space before it."""
    subject = "[Ticket #1] ".ljust(length, "x")
    mail = compose(a_message(subject=subject), SENDER, REPLY_TO)
    assert f"\r\nSubject: {subject}\r\n".encode() in mail


@pytest.mark.parametrize("subject", ["Re: [Ticket #1] " + "Grüße " * 40, "ü" * 300])
def test_an_encoded_subject_keeps_to_short_lines(subject: str) -> None:
    """An encoded word has 75 characters at most (RFC 2047)."""
    written = compose(a_message(subject=subject.strip()), SENDER, REPLY_TO)
    assert max(len(line) for line in written.split(b"\r\n")) <= 78
    assert message_from_bytes(written, policy=default)["Subject"] == subject.strip()


async def test_a_repeated_mail_is_the_same_byte_for_byte(room, sender: EmailSender) -> None:
    """The same Message-ID on every try lets mail programs show it once (SN-11)."""
    await sender.send(a_message(html=HTML), within=SOON)
    await sender.send(a_message(html=HTML), within=SOON)
    assert room.taken[0].content == room.taken[1].content


async def test_connections_are_used_again(room, sender: EmailSender) -> None:
    for _ in range(5):
        await sender.send(a_message(), within=SOON)
    assert len(room.connections) == 1


async def test_a_connection_that_the_server_closed_meanwhile_is_replaced(room, sender: EmailSender) -> None:
    await sender.send(a_message(), within=SOON)
    room.connections[0].transport.abort()
    assert (await sender.send(a_message(), within=SOON)).outcome is Outcome.ACCEPTED
    assert len(room.taken) == 2


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [("451 try later", Outcome.TRANSIENT), ("421 closing", Outcome.TRANSIENT), ("550 nobody", Outcome.PERMANENT)],
)
@pytest.mark.parametrize("place", ["recipient", "data"])
async def test_the_servers_answer_decides(room, sender: EmailSender, answer, outcome, place) -> None:
    """4xx: later; 5xx: never (4.8)."""
    if place == "recipient":
        room.answers = [answer]
    else:
        room.on_data = answer
    result = await sender.send(a_message(), within=SOON)
    assert (result.outcome, result.code) == (outcome, f"smtp_{answer[:3]}")


async def test_a_line_lost_after_the_text_leaves_nobody_knowing(room, sender: EmailSender) -> None:
    """The server may have kept it: RFC 1047's gap (SN-11)."""
    room.on_data = "drop"
    result = await sender.send(a_message(), within=SOON)
    assert (result.outcome, result.code) == (Outcome.AMBIGUOUS, "smtp_disconnected")
    assert len(room.taken) == 1


async def test_a_server_that_never_answers_is_cut_off(room, sender: EmailSender) -> None:
    """At the deadline, not later, and without knowing (SN-58)."""
    await sender.send(a_message(), within=SOON)  # so that there is a connection, and only the answer can take long
    room.on_data = "stall"
    result = await sender.send(a_message(), within=timedelta(seconds=1))
    assert (result.outcome, result.code) == (Outcome.AMBIGUOUS, "smtp_timeout")


async def test_a_server_that_is_away_can_be_tried_later(unused_tcp_port: int) -> None:
    away = EmailSender(SmtpServer("127.0.0.1", unused_tcp_port), SENDER, None, connections=1)
    result = await away.send(a_message(), within=SOON)
    assert (result.outcome, result.code) == (Outcome.TRANSIENT, "smtp_unreachable")


async def test_a_server_that_does_not_take_our_password_is_trouble_and_no_answer_about_the_mail(
    room, smtp_port: int
) -> None:
    """It offers no log-in at all: the mail can be tried later, once the setting is right."""
    server = SmtpServer("127.0.0.1", smtp_port, user="u", password="p")
    result = await EmailSender(server, SENDER, None, connections=1).send(a_message(), within=SOON)
    assert result.outcome is Outcome.TRANSIENT


async def test_messages_wait_for_a_free_connection_inside_their_deadline(room, smtp_port: int) -> None:
    one = EmailSender(SmtpServer("127.0.0.1", smtp_port), SENDER, None, connections=2)
    results = await asyncio.gather(*(one.send(a_message(), within=SOON) for _ in range(20)))
    await one.close()
    assert {result.outcome for result in results} == {Outcome.ACCEPTED}
    assert len(room.connections) <= 2


INJECTIONS = [
    "hello\r\nBcc: evil@x.example",
    "hello\nBcc: evil@x.example",
    "hello\rBcc: evil@x.example",
    "hello\u2028Bcc: evil@x.example",
    "hello\u0085Bcc: evil@x.example",
    "hello\x00\x0bBcc: evil@x.example",
    "é =?UTF-8?Q?=0A?=Bcc: evil@x.example",
    "é =?utf-8?b?CkJjYzogZXZpbEB4LmV4YW1wbGU=?=",
    "hello\r\n\r\n<html>",
    "x" * 2_000 + "\r\nBcc: evil@x.example",
    "\ud800",
    "trailing\n",
]


@pytest.mark.parametrize("attack", INJECTIONS, ids=range(len(INJECTIONS)))
def test_no_subject_adds_a_header(attack: str) -> None:
    """Cleaned by the templates, it is one header (28)."""
    mail = message_from_bytes(compose(a_message(subject=in_subject(attack)), SENDER, REPLY_TO), policy=default)
    assert mail["Bcc"] is None
    assert mail.get_content().replace("\r\n", "\n") == a_message().body


@pytest.mark.parametrize("attack", INJECTIONS, ids=range(len(INJECTIONS)))
@pytest.mark.parametrize("field", ["subject", "recipient", "id", "thread"])
async def test_what_was_not_cleaned_is_refused_and_stops_nobody_else(
    room, sender: EmailSender, attack: str, field: str
) -> None:
    """The second wall: nothing that would change the headers reaches the server (28, SN-28)."""
    await sender.send(a_message(**{field: attack}), within=SOON)
    assert (await sender.send(a_message(), within=SOON)).outcome is Outcome.ACCEPTED
    for envelope in room.taken:
        mail = message_from_bytes(envelope.content, policy=default)
        assert mail["Bcc"] is None
        assert len(mail.get_all("To")) == 1
        assert envelope.rcpt_tos == ["ada@example.com"]


# --- TLS ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
async def tls_ports(room, tmp_path: Path) -> AsyncIterator[tuple[int, int]]:
    """Ports of a server that speaks TLS from the beginning, and of one that offers STARTTLS; `ca.pem` trusts both."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2126, 1, 1, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, private = tmp_path / "ca.pem", tmp_path / "key.pem"
    certificate.write_bytes(made.public_bytes(Encoding.PEM))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, private)
    loop = asyncio.get_running_loop()
    servers = [
        await loop.create_server(lambda: SMTP(room, hostname="test"), "localhost", 0, ssl=context),
        await loop.create_server(lambda: SMTP(room, hostname="test", tls_context=context), "localhost", 0),
    ]
    first, second = (server.sockets[0].getsockname()[1] for server in servers)
    yield first, second
    for server in servers:
        server.close()


@pytest.mark.parametrize("starttls", [False, True])
async def test_mail_goes_out_over_tls_to_a_server_whose_certificate_is_trusted(
    room, tls_ports: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, starttls: bool
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    server = SmtpServer("localhost", tls_ports[starttls], tls=not starttls, starttls=starttls or None)
    one = EmailSender(server, SENDER, None, connections=1)
    assert (await one.send(a_message(), within=SOON)).outcome is Outcome.ACCEPTED
    await one.close()
    assert len(room.taken) == 1


@pytest.mark.parametrize("starttls", [False, True])
async def test_nothing_is_handed_to_a_server_whose_certificate_is_not_trusted(
    room, tls_ports: tuple[int, int], starttls: bool
) -> None:
    """Somebody in between; it is tried again, and a page goes another way (invariant 27)."""
    server = SmtpServer("localhost", tls_ports[starttls], tls=not starttls, starttls=starttls or None)
    result = await EmailSender(server, SENDER, None, connections=1).send(a_message(), within=SOON)
    assert (result.outcome, room.taken) == (Outcome.TRANSIENT, [])


async def test_a_server_that_hides_its_starttls_gets_no_mail_where_tls_is_insisted_on(room, smtp_port: int) -> None:
    server = SmtpServer("127.0.0.1", smtp_port, starttls=True)
    result = await EmailSender(server, SENDER, None, connections=1).send(a_message(), within=SOON)
    assert (result.outcome, room.taken) == (Outcome.TRANSIENT, [])
