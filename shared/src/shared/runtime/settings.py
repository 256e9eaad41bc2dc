"""Environment variables that every service knows, prefix `SUPPORT_`. A bad one stops the start, naming all that are bad."""

import hashlib
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from shared.events.envelope import OUR_SOURCES
from shared.events.topics import Lane
from shared.policy.load import load_policy
from shared.policy.model import Policy

BAD_CONFIGURATION = 78
"""The exit status for a bad setting (sysexits: EX_CONFIG)."""


class Scope(StrEnum):
    """What an API key may do."""

    EVENTS_WRITE = "events:write"
    SAFETY_WRITE = "safety:write"
    TICKETS_READ = "tickets:read"
    EXPLAIN = "explain"
    """See the words behind a decision: a customer's."""
    INCIDENTS_READ = "incidents:read"
    INCIDENTS_ACT = "incidents:act"
    INCIDENTS_PROTECTED = "incidents:protected"
    """See notes, pseudonyms and what was set apart: a child's matter."""
    NOTIFICATIONS_READ = "notifications:read"
    NOTIFICATIONS_TEXT = "notifications:text"
    """See the words of a notification: a customer's name and what they were told."""
    NOTIFICATIONS_ACT = "notifications:act"
    OPERATE = "operate"


class ApiKey(BaseModel):
    """A key as it is stored: its hash, whose it is, what it may do, and which event sources it may speak for."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(min_length=1, max_length=64)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    scopes: frozenset[Scope]
    sources: tuple[str, ...] = ("*",)

    def may_speak_for(self, source: str) -> bool:
        """No key speaks for our own services, whose word counts for more (S9)."""
        return not source.startswith(OUR_SOURCES) and ("*" in self.sources or source in self.sources)


class ApiKeys:
    """The keys by hash. A presented key is hashed first, so that neither time nor memory tells how near a guess was."""

    def __init__(self, keys: tuple[ApiKey, ...]) -> None:
        self._by_hash = {key.sha256: key for key in keys}

    def find(self, presented: str) -> ApiKey | None:
        return self._by_hash.get(hashlib.sha256(presented.encode()).hexdigest())


def _checked_url(url: SecretStr) -> SecretStr:
    if not url.get_secret_value().startswith(("https://", "http://")):
        raise ValueError("must begin with https:// or http://")
    return url


SecretUrl = Annotated[SecretStr, AfterValidator(_checked_url)]
"""A setting: a URL that whoever knows it can use."""


class ServiceSettings(BaseSettings):
    """What every service needs to run. Secrets and addresses have no default."""

    model_config = SettingsConfigDict(env_prefix="SUPPORT_", frozen=True, extra="ignore")

    kafka_bootstrap_servers: str = Field(pattern=r"^[^\s:,]+:\d{1,5}(,[^\s:,]+:\d{1,5})*$")
    """host:port, several separated by commas."""
    database_url: SecretStr
    topic_prefix: str = Field(default="", pattern=r"^[A-Za-z0-9._-]{0,60}$")
    topic_replication_factor: int = Field(default=1, ge=1)
    topic_min_insync_replicas: int = Field(default=1, ge=1)
    policy_file: Path | None = None
    directory_file: Path | None = None
    api_keys: tuple[ApiKey, ...] = ()
    """JSON: [{"name": …, "sha256": …, "scopes": […], "sources": […]}]."""
    http_host: str = "127.0.0.1"
    http_port: int = Field(ge=0, le=65535)
    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")

    @field_validator("database_url")
    @classmethod
    def _postgresql(cls, url: SecretStr) -> SecretStr:
        if not url.get_secret_value().startswith(("postgresql://", "postgres://", "postgresql+asyncpg://")):
            raise ValueError("must begin with postgresql://")
        return url

    def policy(self) -> Policy:
        """The policy in force: the file that the settings name, else the one that ships.

        Raises:
            pydantic.ValidationError: a number is missing, odd or contradicts another.
        """
        return load_policy(self.policy_file.read_text() if self.policy_file is not None else None)


class LaneSettings(ServiceSettings):
    """Of a service that works on both lanes."""

    lane: Literal["urgent", "bulk"] | None = None
    """What this process works on; unset: both. A process of its own spares the urgent lane the bulk's turns at the processor."""

    def lanes(self) -> tuple[Lane, ...]:
        return tuple(lane for lane in Lane if self.lane in (None, lane.name.lower()))


S = TypeVar("S", bound=ServiceSettings)


def settings_or_exit(settings_class: type[S]) -> S:
    """The settings, or the end of the process with a line for each bad variable; values are never printed."""
    try:
        return settings_class()
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(BAD_CONFIGURATION)
    except ValidationError as error:
        for problem in error.errors(include_input=False, include_url=False, include_context=False):
            name = "__".join(str(part) for part in problem["loc"]).upper()
            sys.stderr.write(f"SUPPORT_{name}: {problem['msg']}\n")
        sys.exit(BAD_CONFIGURATION)
