"""A bad setting stops the start, naming the variable and never its value."""

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from notifier.settings import NotifierSettings, SmtpServer, smtp_server
from shared.directory import Directory, InvalidDirectory


def settings(**values: Any) -> NotifierSettings:
    plain = {
        "kafka_bootstrap_servers": "k:9092",
        "database_url": "postgresql://d",
        "smtp_url": "smtp://m:1025",
        "mail_from": "Support <support@storytailor.example>",
    }
    return NotifierSettings.model_validate(plain | values)


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mail", SmtpServer("mail", 25)),
        ("smtp://mail:1025?starttls=false", SmtpServer("mail", 1025, starttls=False)),
        ("smtps://u%40x:p%2Fw@mail", SmtpServer("mail", 465, tls=True, user="u@x", password="p/w")),
        ("smtp://u:p@mail:587?starttls=true", SmtpServer("mail", 587, starttls=True, user="u", password="p")),
    ],
)
def test_a_mail_server_is_named_by_a_url(url: str, server: SmtpServer) -> None:
    assert smtp_server(url) == server


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("smtp_url", "http://canary"),
        ("smtp_url", "smtp://"),
        ("smtp_url", "smtp://u:canary@mail"),
        ("mail_from", "canary"),
        ("mail_from", "a@canary.example, b@canary.example"),
        ("mail_reply_to", "a@canary.example\r\nBcc: b@canary.example"),
        ("directory_file", "/nowhere/canary"),
        ("environment", "Canary!"),
        ("webhook_secrets", ["canary"]),
        ("slack_webhook_url", "canary"),
        ("paging_beat_url", "file:///canary"),
    ],
)
def test_a_bad_setting_is_named(directory_file: Path, name: str, value: str) -> None:
    with pytest.raises(ValidationError) as refused:
        settings(**{"directory_file": directory_file, name: value})
    (error,) = refused.value.errors(include_input=False)
    assert error["loc"][0] == name
    assert "canary" not in error["msg"]


@pytest.mark.parametrize(
    ("environment", "allowed"),
    [(None, None), ("prod", None), ("staging", {"ada@example.com", "@staff.example"}), ("production-copy", set())],
)
def test_only_production_writes_to_everybody(
    directory_file: Path, environment: str | None, allowed: set | None
) -> None:
    """Invariant 38: a deployment with any other name writes to its list, and to nobody without one."""
    listed = ["Ada@example.com", "@staff.example"] if allowed else []
    made = settings(directory_file=directory_file, environment=environment, recipients_allowed=listed)
    assert made.allowed() == allowed


@pytest.mark.parametrize("listed", ["*", "ada", "a b@c", "", "https://hooks.example/x", "//"])
def test_a_recipient_that_is_no_address_and_no_domain_is_refused(directory_file: Path, listed: str) -> None:
    with pytest.raises(ValidationError):
        settings(directory_file=directory_file, recipients_allowed=[listed])


SECRET = "whsec_" + base64.b64encode(b"canary" * 4).decode()
HOOK = "https://hooks.example/canary"


def test_what_is_posted_is_signed(directory_file: Path) -> None:
    """A directory, or a setting, that names webhooks needs a secret; and it shows nowhere (SN-52)."""
    with pytest.raises(ValidationError, match="SUPPORT_WEBHOOK_SECRETS"):
        settings(directory_file=directory_file, webhook_url=HOOK)
    directory = with_webhook_of_legal(directory_file, HOOK)
    with pytest.raises(InvalidDirectory, match=r"teams\.legal: webhooks are signed"):
        settings(directory_file=directory_file).check(directory)
    made = settings(directory_file=directory_file, webhook_secrets=[SECRET], slack_webhook_url=HOOK)
    made.check(directory)
    for shown in (made, directory):
        assert "canary" not in repr(shown)
        assert SECRET not in repr(shown)


@pytest.mark.parametrize("url", ["http://hooks.example/canary", "https://hooks.example:9000/canary"])
def test_a_url_that_would_never_be_called_is_refused_before_a_page_needs_it(directory_file: Path, url: str) -> None:
    """SN-51, engine checklist 25: https at a usual port, but for hosts that a setting trusts."""
    with pytest.raises(ValidationError, match="SUPPORT_SLACK_WEBHOOK_URL") as refused:
        settings(directory_file=directory_file, slack_webhook_url=url)
    assert "canary" not in refused.value.errors(include_input=False)[0]["msg"]
    directory = with_webhook_of_legal(directory_file, url)
    with pytest.raises(InvalidDirectory, match=r"teams\.legal: .*443") as unusable:
        settings(directory_file=directory_file, webhook_secrets=[SECRET]).check(directory)
    assert "canary" not in str(unusable.value)
    settings(directory_file=directory_file, webhook_secrets=[SECRET], trusted_hosts=["hooks.example"]).check(directory)


def with_webhook_of_legal(directory_file: Path, url: str) -> Directory:
    directory = yaml.safe_load(directory_file.read_text())
    directory["teams"]["legal"]["webhook"] = url
    return Directory.from_yaml(yaml.safe_dump(directory))


def test_a_password_is_not_shown(directory_file: Path) -> None:
    assert "canary" not in repr(settings(directory_file=directory_file, smtp_url="smtps://u:canary@mail"))
