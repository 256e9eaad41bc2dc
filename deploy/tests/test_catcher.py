"""What the mail catcher shows is what was sent."""

import json
import smtplib
import urllib.request
from collections.abc import Iterator
from email.message import EmailMessage
from html.parser import HTMLParser

import pytest

from deploy.catcher import SHOWN, MailCatcher


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


def test_both_parts_of_a_mail_are_shown_and_nothing_of_them_runs(catcher: MailCatcher) -> None:
    """The HTML part is an attribute of a frame without rights, and the page may fetch and run nothing."""
    attack = '<p>Hi</p><script>alert(1)</script>"></iframe><img src=x onerror=alert(2)>'
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "a@x.example", "b@x.example", "Two parts"
    mail.set_content("Hi\n")
    mail.add_alternative(attack, subtype="html")
    host, port = catcher.smtp_address.split(":")
    with smtplib.SMTP(host, int(port)) as smtp:
        smtp.send_message(mail)
    [seen] = json.loads(get(f"{catcher.url}/mails.json"))
    assert (seen["text"].strip(), seen["html"].strip()) == ("Hi", attack)
    elements = Elements()
    elements.feed(get(f"{catcher.url}/"))
    [frame] = [attributes for tag, attributes in elements.found if tag == "iframe"]
    assert frame["sandbox"] is None
    assert str(frame["srcdoc"]).strip() == attack
    assert {"script", "img"}.isdisjoint(tag for tag, _ in elements.found)
    with urllib.request.urlopen(catcher.url) as answer:
        assert answer.headers["content-security-policy"].startswith("default-src 'none'; ")


def test_the_page_shows_the_newest_mails_and_stays_readable(catcher: MailCatcher) -> None:
    """A thousand caught mails do not make it a thousand frames long."""
    for number in range(SHOWN + 1):
        mail = {"to": [], "from": "", "subject": f"number {number}.", "headers": {}, "text": "", "html": None}
        catcher.mails.append(mail)
    page = get(catcher.url)
    assert f"Caught mail ({SHOWN + 1})" in page
    assert "number 0." not in page
    assert page.index(f"number {SHOWN}.") < page.index("number 1.")


def test_mails_can_be_forgotten(catcher: MailCatcher) -> None:
    """DELETE /mails empties the catcher."""
    catcher.mails.append({"to": [], "from": "", "subject": "", "headers": {}, "text": "", "html": None})
    with urllib.request.urlopen(urllib.request.Request(f"{catcher.url}/mails", method="DELETE")) as answer:
        assert answer.status == 204
    assert json.loads(get(f"{catcher.url}/mails.json")) == []


class Elements(HTMLParser):
    """The elements of a page with their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def get(url: str) -> str:
    with urllib.request.urlopen(url) as answer:
        return str(answer.read().decode())
