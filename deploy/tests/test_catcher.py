"""What the mail catcher shows is what was sent."""

import json
import smtplib
import urllib.request
from collections.abc import Iterator
from email.message import EmailMessage

import pytest

from deploy.catcher import MailCatcher


@pytest.fixture
def catcher() -> Iterator[MailCatcher]:
    catcher = MailCatcher()
    catcher.start()
    yield catcher
    catcher.stop()


def test_mail_is_shown_as_it_was_sent(catcher: MailCatcher) -> None:
    """Recipients of the envelope, headers and text; on the page nothing of it is markup."""
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"], mail["X-Storytailor-Id"] = "a@x.example", "b@x.example", "Grüße", "n1"
    mail.set_content("Once <b>upon</b> a time – ✨\n")
    host, port = catcher.smtp_address.split(":")
    with smtplib.SMTP(host, int(port)) as smtp:
        smtp.send_message(mail, to_addrs=["b@x.example", "c@x.example"])
    [seen] = json.loads(get(f"{catcher.url}/mails.json"))
    assert seen["to"] == ["b@x.example", "c@x.example"]
    assert seen["from"] == "a@x.example"
    assert seen["subject"] == "Grüße"
    assert seen["text"].strip() == "Once <b>upon</b> a time – ✨"
    assert seen["headers"]["X-Storytailor-Id"] == "n1"
    assert "Once &lt;b&gt;upon" in get(f"{catcher.url}/")


def test_mails_can_be_forgotten(catcher: MailCatcher) -> None:
    """DELETE /mails empties the catcher."""
    catcher.mails.append({"to": [], "from": "", "subject": "", "headers": {}, "text": ""})
    with urllib.request.urlopen(urllib.request.Request(f"{catcher.url}/mails", method="DELETE")) as answer:
        assert answer.status == 204
    assert json.loads(get(f"{catcher.url}/mails.json")) == []


def get(url: str) -> str:
    with urllib.request.urlopen(url) as answer:
        return str(answer.read().decode())
