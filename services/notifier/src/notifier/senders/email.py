"""E-mail by SMTP, over a few connections that are used again.

What an outcome means (T, RFC 1047): up to the end of the envelope nothing was delivered, whatever happens; once the text is
on its way only the server's answer tells, and without one nobody knows.
"""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from email.errors import HeaderParseError, MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime

from aiosmtplib import SMTP, SMTPException, SMTPResponseException, SMTPServerDisconnected

from notifier.domain.retry import Outcome, SendResult
from notifier.senders import Message
from notifier.settings import SmtpServer

SERVICE_NOT_AVAILABLE = 421
"""What a server says when it closes a connection, for example one that was idle for too long."""
ONE_LINE = SMTP_POLICY.clone(max_line_length=998)
"""How headers are written when the subject is ASCII: folded right after the colon it would begin with a space for some readers.
Others keep short lines, as encoded words must (RFC 2047).
"""
ACCEPTED = SendResult(Outcome.ACCEPTED, "smtp_250")


@dataclass(slots=True)
class _Try:
    """How far one try has got."""

    connected: bool = False
    text_sent: bool = False


class EmailSender:
    """Hands mails to one SMTP server.

    Args:
        sender: whom the mails are from; its domain also names them.
        connections: how many are used at once; further messages wait for one, inside their deadline.
    """

    def __init__(self, server: SmtpServer, sender: Address, reply_to: Address | None, *, connections: int) -> None:
        self._server = server
        self._sender = sender
        self._reply_to = reply_to
        self._free = asyncio.Semaphore(connections)
        self._idle: list[SMTP] = []

    async def send(self, message: Message, *, within: timedelta) -> SendResult:
        """Hand the mail over; the code of the result is `smtp_<answer>` or names the trouble."""
        try:
            mail = compose(message, self._sender, self._reply_to)
        except (MessageError, HeaderParseError, ValueError, IndexError):
            return SendResult(Outcome.PERMANENT, "smtp_unsafe")  # the mail package raises these for odd addresses
        this_try = _Try()
        try:
            async with asyncio.timeout(within.total_seconds()), self._free:
                await self._deliver(message.recipient, mail, this_try)
        except SMTPResponseException as answer:
            final = this_try.connected and answer.code >= 500
            of_message = this_try.connected and answer.code != SERVICE_NOT_AVAILABLE
            outcome = Outcome.PERMANENT if final else Outcome.TRANSIENT
            return SendResult(outcome, f"smtp_{answer.code}", of_message=of_message)
        except TimeoutError:
            return _unanswered(this_try, "smtp_timeout")
        except (SMTPException, OSError):
            return _unanswered(this_try, "smtp_disconnected" if this_try.connected else "smtp_unreachable")
        return ACCEPTED

    async def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    async def _deliver(self, recipient: str, mail: bytes, this_try: _Try) -> None:
        client = await self._client_at_text(recipient, this_try)
        try:
            this_try.text_sent = True
            await client.data(mail)
        except BaseException:
            client.close()
            raise
        self._idle.append(client)

    async def _client_at_text(self, recipient: str, this_try: _Try) -> SMTP:
        """A connection that has accepted the envelope; one that the server has closed meanwhile is replaced."""
        while self._idle:
            client = self._idle.pop()
            this_try.connected = True
            try:
                await self._envelope(client, recipient)
            except (SMTPServerDisconnected, OSError):
                continue
            except SMTPResponseException as answer:
                if answer.code != SERVICE_NOT_AVAILABLE:
                    raise
                continue
            return client
        this_try.connected = False
        client = self._client()
        await client.connect()
        this_try.connected = True
        await self._envelope(client, recipient)
        return client

    async def _envelope(self, client: SMTP, recipient: str) -> None:
        try:
            await client.mail(self._sender.addr_spec)
            await client.rcpt(recipient)
        except BaseException:
            client.close()
            raise

    def _client(self) -> SMTP:
        server = self._server
        return SMTP(
            hostname=server.host,
            port=server.port,
            username=server.user,
            password=server.password,
            use_tls=server.tls,
            start_tls=None if server.tls else server.starttls,
            local_hostname=self._sender.domain,
            timeout=None,
        )


def compose(message: Message, sender: Address, reply_to: Address | None) -> bytes:
    """The mail, the same bytes on every try.

    Raises:
        ValueError: a value would change the mail's headers.
        email.errors.MessageError: the mail package refuses a value.
    """
    thread = f"<{message.thread}@{sender.domain}>"
    headers = {
        "From": str(sender),
        "To": Address(addr_spec=message.recipient).addr_spec,
        **({"Reply-To": str(reply_to)} if reply_to else {}),
        "Subject": message.subject,
        "Date": format_datetime(message.written_at),
        "Message-ID": f"<{message.id}@{sender.domain}>",
        "In-Reply-To": thread,
        "References": thread,
        "Auto-Submitted": "auto-generated",
        "X-Auto-Response-Suppress": "All",
        **({"Precedence": "auto_reply"} if message.to_customer else {}),
    }
    mail = EmailMessage(policy=SMTP_POLICY)
    for name, value in headers.items():
        mail[name] = value
    mail.set_content(message.body, cte="quoted-printable")
    if message.html is not None:
        mail.add_alternative(message.html, subtype="html", cte="quoted-printable")
        mail.set_boundary(_boundary(message.id))
    if message.language is not None:
        headers["Content-Language"] = mail["Content-Language"] = message.language
    written = mail.as_bytes(policy=ONE_LINE if message.subject.isascii() else SMTP_POLICY)
    if _headers(written) != _headers_of(headers, with_html=message.html is not None):
        raise ValueError("the headers are not the ones that were written")
    return written


def _boundary(message_id: str) -> str:
    """What parts the mail, the same on every try; no line of quoted-printable text can be it."""
    return f"=_{hashlib.sha256(message_id.encode(errors='replace')).hexdigest()[:32]}"


def _headers(written: bytes) -> list[list[str]]:
    """The names of the headers of a mail and of each of its parts."""
    return [sorted(part.keys()) for part in BytesParser().parsebytes(written).walk()]


def _headers_of(headers: Mapping[str, str], *, with_html: bool) -> list[list[str]]:
    """The same as they have to be."""
    of_text = ["Content-Transfer-Encoding", "Content-Type"]
    if not with_html:
        return [sorted([*headers, *of_text, "MIME-Version"])]
    return [sorted([*headers, "Content-Type", "MIME-Version"]), of_text, sorted([*of_text, "MIME-Version"])]


def _unanswered(this_try: _Try, code: str) -> SendResult:
    return SendResult(Outcome.AMBIGUOUS if this_try.text_sent else Outcome.TRANSIENT, code)
