"""What may leave, by value, channel and reader: an allow-list, and the default is no (S5)."""

from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Self

import yaml
from pydantic import BaseModel, ConfigDict, model_validator


class Matter(StrEnum):
    """What a message is about: incidents and safety tickets, or any other ticket."""

    SAFETY = "safety"
    ORDINARY = "ordinary"


class Value(StrEnum):
    """A kind of fact that a message could give away."""

    INCIDENT_REFERENCE = "incident_reference"
    SAFETY_WORD = "safety_word"
    INCIDENT_CLASS = "incident_class"
    SEVERITY = "severity"
    DUE_TIME = "due_time"
    AGE = "age"
    COUNTS = "counts"
    RESPONSES = "responses"
    AUTHORITY = "authority"
    CATEGORY_CODES = "category_codes"
    PSEUDONYM = "pseudonym"
    TICKET_REFERENCE = "ticket_reference"
    TOPIC = "topic"
    PERSONAL_DATA = "personal_data"
    REPLY = "reply"
    """What a person of the staff wrote for the customer."""
    FREE_TEXT = "free_text"
    EVIDENCE_REFERENCE = "evidence_reference"
    STAFF_IDENTITY = "staff_identity"
    DRILL_FLAG = "drill_flag"
    LOGIN_LINK = "login_link"


class Exit(StrEnum):
    """A part of a channel on which something leaves."""

    RESTRICTED_TOPIC = "restricted_topic"
    GENERAL_TOPIC = "general_topic"
    SLACK_RESTRICTED = "slack_restricted"
    SLACK_GENERAL = "slack_general"
    MAIL_SUBJECT = "mail_subject"
    MAIL_BODY = "mail_body"
    PAGER = "pager"
    """SMS, push and pager webhooks."""
    WEBHOOK = "webhook"
    CUSTOMER_MAIL = "customer_mail"
    """A mail to a customer or guardian, subject and body."""
    LOGS = "logs"
    """Logs, traces, metrics, error reports and the headers of dead letters."""


class Reader(StrEnum):
    """Who reads it."""

    SUPPORT = "support"
    """On call, and their lead."""
    SAFETY_TEAM = "safety_team"
    LEGAL_COMPLIANCE = "legal_compliance"
    LAST_RESPONDER = "last_responder"
    TEAM = "team"
    """A team's shared inbox, and its lead's."""
    OPERATIONS = "operations"
    CUSTOMER = "customer"
    PROGRAM = "program"
    """Our own services, and signed webhooks."""


class Form(StrEnum):
    """How a value may stand there; only the first two, and the name of a colleague, show the value itself."""

    PLAIN = "plain"
    RELEASED = "released"
    LOGIN = "login"
    REFERENCE = "reference"
    ID = "id"
    NAME = "name"
    HASH = "hash"
    COUNT = "count"
    SEALED = "sealed"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Table(_Part):
    """The cells of one kind of matter."""

    channels: dict[Value, dict[Exit, Form]]
    readers: dict[Reader, frozenset[Value]]

    @model_validator(mode="after")
    def _known(self) -> Self:
        for reader, values in self.readers.items():
            if unknown := values - set(self.channels):
                raise ValueError(f"readers.{reader}: {', '.join(sorted(unknown))} stands on no channel")
        return self


class Confidentiality(_Part):
    """The matrix. What is not listed is denied."""

    safety: Table
    ordinary: Table

    def form(self, matter: Matter, value: Value, exit_: Exit, reader: Reader) -> Form | None:
        """In which form the value may leave there for this reader; None when it may not at all."""
        table = self.safety if matter is Matter.SAFETY else self.ordinary
        if value not in table.readers.get(reader, ()):
            return None
        return table.channels[value].get(exit_)

    def shows(self, matter: Matter, value: Value, exit_: Exit, reader: Reader, *, released: bool = False) -> bool:
        """Whether the value itself may be read there."""
        form = self.form(matter, value, exit_, reader)
        return form in (Form.PLAIN, Form.NAME) or (form is Form.RELEASED and released)


@cache
def load_confidentiality() -> Confidentiality:
    """The matrix that ships.

    Raises:
        pydantic.ValidationError: it names a value, a channel or a reader that does not exist.
    """
    return Confidentiality.model_validate(yaml.safe_load((files("shared.policy") / "confidentiality.yaml").read_text()))
