"""Every environment variable of the notifier."""

import base64
from dataclasses import dataclass
from email.headerregistry import Address
from email.utils import getaddresses
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, model_validator

from notifier.domain.audience import is_address
from notifier.domain.notification import Channel
from notifier.domain.urls import may_be_called
from notifier.domain.wording import SOURCE_LANGUAGE
from shared.directory import ChannelKind, Directory, InvalidDirectory
from shared.runtime.settings import LaneSettings, SecretUrl

PRODUCTION = "prod"
DEFAULT_PORTS = {"smtp": 25, "smtps": 465}


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """Where mail is handed over. `starttls`: True insists on it, None uses it where it is offered."""

    host: str
    port: int
    tls: bool = False
    starttls: bool | None = None
    user: str | None = None
    password: str | None = None


def smtp_server(url: str) -> SmtpServer:
    """The server that a URL names: `smtp://host:port`, `smtps://user:password@host`, `smtp://…?starttls=true`.

    Raises:
        ValueError: it names no server, or would send a password in the clear.
    """
    parts = urlsplit(url)
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise ValueError("write smtp://host:port or smtps://host:port")
    starttls = {"true": True, "false": False}.get(parse_qs(parts.query).get("starttls", [""])[0])
    tls = parts.scheme == "smtps"
    if parts.password and not (tls or starttls):
        raise ValueError("a password needs smtps:// or ?starttls=true")
    return SmtpServer(
        host=parts.hostname,
        port=parts.port or DEFAULT_PORTS[parts.scheme],
        tls=tls,
        starttls=starttls,
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
    )


def mailbox(text: str) -> Address:
    """The address in `Storytailor Support <support@example.com>`.

    Raises:
        ValueError: it is not one plain address.
    """
    found = getaddresses([text]) if text.isprintable() else []
    if len(found) != 1 or not is_address(found[0][1]):
        raise ValueError("write Name <name@domain>")
    name, address = found[0]
    return Address(display_name=name, addr_spec=address)


def _checked_server(url: SecretStr) -> SecretStr:
    smtp_server(url.get_secret_value())
    return url


def _checked_mailbox(text: str) -> str:
    mailbox(text)
    return text


def _checked_directory(path: Path) -> Path:
    try:
        Directory.from_yaml(path.read_text())
    except OSError as error:
        raise ValueError("the file cannot be read") from error
    return path


def _checked_secret(secret: SecretStr) -> SecretStr:
    prefix, _, key = secret.get_secret_value().partition("_")
    try:
        length = len(base64.b64decode(key, validate=True)) if prefix == "whsec" else 0
    except ValueError:
        length = 0
    if not 24 <= length <= 64:
        raise ValueError("write whsec_ and 24 to 64 bytes in base64")
    return secret


class NotifierSettings(LaneSettings):
    """What the notifier needs beside what every service does."""

    http_port: int = Field(default=8084, ge=0, le=65535)
    directory_file: Annotated[Path, AfterValidator(_checked_directory)]
    smtp_url: Annotated[SecretStr, AfterValidator(_checked_server)]
    mail_from: Annotated[str, AfterValidator(_checked_mailbox)]
    mail_reply_to: Annotated[str, AfterValidator(_checked_mailbox)] | None = None
    """Where answers of customers go; without it, to `mail_from`."""

    environment: str | None = Field(default=None, pattern=r"^[a-z][a-z0-9-]{0,31}$")
    """Which deployment this is. Unset or `prod` writes to everybody; any other only to `recipients_allowed`."""
    recipients_allowed: frozenset[
        Annotated[str, StringConstraints(pattern=r"^([^\s@/]*@[^\s@/]+|//[^\s@/]+)$", to_lower=True)]
    ] = frozenset()
    """JSON: addresses, `@domain` for every address there, `//host` for every URL there."""
    slack_webhook_url: SecretUrl | None = None
    """An incoming webhook of a restricted Slack channel, where all people on duty read each page together."""
    webhook_url: SecretUrl | None = None
    """A program that gets each page as a signed POST, for example a pager."""
    webhook_secrets: tuple[Annotated[SecretStr, AfterValidator(_checked_secret)], ...] = ()
    """JSON: `whsec_…`, the newest first; while one is replaced receivers may verify with either."""
    trusted_hosts: frozenset[str] = frozenset()
    """JSON: hosts of Slack and webhooks that may be private, and called without TLS and at any port."""
    paging_beat_url: SecretUrl | None = None
    """Where an outside watcher takes a POST every 30 seconds while pages reach people; whoever knows it can fake the beat."""
    default_language: str = Field(default=SOURCE_LANGUAGE, pattern=r"^[a-z]{2,3}(-[a-z0-9]{2,8})*$")
    """In which language somebody is written to who has no locale, or one without texts."""
    incident_list: str = Field(default="the incident list of the safety-bridge", pattern=r"^[ -~]{1,500}$")
    """Where a roll-up sends the people on duty: an address behind a login."""

    @model_validator(mode="after")
    def _can_post_where_all_read(self) -> Self:
        for name, kind, url in (
            ("SLACK_WEBHOOK_URL", ChannelKind.SLACK, self.slack_webhook_url),
            ("WEBHOOK_URL", ChannelKind.WEBHOOK, self.webhook_url),
        ):
            if url is not None and (why := self._why_not(kind, url.get_secret_value())):
                raise ValueError(f"SUPPORT_{name}: {why}")
        return self

    def check(self, directory: Directory) -> None:
        """
        Raises:
            InvalidDirectory: it names a way that this service cannot take; tells whose, never the address.
        """
        for whose, kind, address in directory.ways():
            if why := self._why_not(kind, address):
                raise InvalidDirectory(f"{whose}: {why}")

    def _why_not(self, kind: ChannelKind, address: str) -> str | None:
        if kind is ChannelKind.APPRISE and find_spec("apprise") is None:
            return "a channel of kind apprise needs the extra: install notifier[apprise]"
        if kind is ChannelKind.WEBHOOK and not self.webhook_secrets:
            return "webhooks are signed: name a secret in SUPPORT_WEBHOOK_SECRETS"
        if kind in (ChannelKind.SLACK, ChannelKind.WEBHOOK) and not may_be_called(address, self.trusted_hosts):
            return "a URL is called by https at port 443 or 8443; SUPPORT_TRUSTED_HOSTS are excepted"
        return None

    def restricted(self) -> dict[Channel, str]:
        """Where all people on duty read pages together, by channel."""
        both = ((Channel.SLACK, self.slack_webhook_url), (Channel.WEBHOOK, self.webhook_url))
        return {channel: url.get_secret_value() for channel, url in both if url is not None}

    def allowed(self) -> frozenset[str] | None:
        """Who may be written to; None: everybody."""
        return None if self.environment in (None, PRODUCTION) else self.recipients_allowed
